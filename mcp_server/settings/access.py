"""Who may do what."""

from __future__ import annotations

from pydantic import Field

from .section import Section


class Access(Section):
    """Credentials, and what goes without them."""

    allow_deploy: bool | None = Field(
        None,
        description="Whether pipelines can be deployed. Default: on this machine only, not over a network.",
    )
    insecure_no_auth: bool = Field(
        False, description="Let everyone who reaches the address call, without a key. Never on the internet."
    )
    key_in_query: bool = Field(
        False, description="Take keys as `?api_key=`, too. Addresses are logged and shared; prefer headers."
    )

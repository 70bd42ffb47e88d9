"""The MLflow server behind `/mlflow`, if there is one."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from .section import Section


class TrackingSettings(Section):
    """Which server, and what is written there."""

    tracking_url: SecretStr | None = Field(
        None,
        description="MLflow server behind /mlflow: `http://HOST:5000`, with `user:password@` if need be.",
    )
    tracking_timeout: float = Field(30.0, gt=0, description="Seconds that server may be silent.")
    tracking_log: bool = Field(False, description="Write runs and versions there, in the background.")
    tracking_experiment: str = Field("mcp-server", min_length=1, description="Its experiment for runs.")

    @field_validator("tracking_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        place = urlsplit(value.get_secret_value()) if value else None
        if place is not None and (place.scheme not in ("http", "https") or not place.hostname):
            raise ValueError("is no http or https address")
        return value

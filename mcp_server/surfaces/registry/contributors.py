"""What a contributor brought: the verb `get_contributor_impact` as a route."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...server import Server
from ..callers import caller_of
from ..management.registry_tools import ADDRESS, RegistryTools
from ..management.views import Invocation, View
from ..operations import as_json
from .bodies import fault
from .reading import ORIGIN


class Contributors:
    """Answers the one route about them."""

    def __init__(self, server: Server) -> None:
        self._tools = RegistryTools(server)

    async def impact(self, request: Request) -> Response:
        """Tell how much an address improved models: the gain of their metric over the version before."""
        address: str = request.path_params["address"]
        if not ADDRESS.fullmatch(address):
            raise fault("write 0x and 40 hexadecimal digits", "path", "address")
        call = Invocation(caller_of(request, ORIGIN), {"address": address}, lambda: View({}, {}, {}))
        return as_json(await self._tools.impact(call))

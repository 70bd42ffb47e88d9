"""How the server and its pipelines are doing: `/status`, and the older page's `/pipelines/{name}/status`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...access import sight
from ...models import Json, Status
from ...server import Server
from .. import Surface
from ..callers import caller_of
from ..operations import OBJECT, TEXT, TEXTS, Operation, as_json, gives, mounted

STATUS = gives(status=TEXT, pipeline=TEXT, state=TEXT, version=TEXT, error=TEXT)


def surface(server: Server) -> Surface:
    """The slim surface: status only."""
    return mounted(operations(server))


def operations(server: Server) -> tuple[Operation, ...]:
    """The routes of the slim surface."""

    async def everything(request: Request) -> Response:
        caller = caller_of(request, "rest")
        details = [each for each in server.catalog.statuses() if caller.may("read", each.name)]
        serving = [each.name for each in details if each.status == "running"]
        known = {"status": "Up!", "pipelines": serving, "details": list(map(dumped, details))}
        return as_json(known | unrecorded(server) | untold(server))

    async def one(request: Request) -> Response:
        found = seen(server, request)
        up = "Up!" if found.status == "running" else found.status
        details = dumped(found.model_copy(update={"status": up}))
        return as_json({"status": up, "pipeline": details.pop("name"), "state": found.status} | details)

    whole = gives(status=TEXT, pipelines=TEXTS, details={"type": "array", "items": OBJECT})
    return (
        Operation("GET", "/status", everything, "How every pipeline is doing", answer=whole),
        Operation("GET", "/status/{name}", one, "How a pipeline is doing", answer=STATUS),
    )


def detailed(server: Server) -> Operation:
    """The status of one pipeline with all that is known, as the older Hayhooks page has it."""

    async def details(request: Request) -> Response:
        return as_json(dumped(seen(server, request)))

    known = gives(name=TEXT, status=TEXT, version=TEXT, uptime={"type": "number"}, error=TEXT)
    return Operation("GET", "/pipelines/{name}/status", details, "Everything about a pipeline", answer=known)


def seen(server: Server, request: Request) -> Status:
    """The status of the pipeline that the address names. Raises `NotFound`."""
    name: str = request.path_params["name"]
    sight.check(caller_of(request, "rest"), "read", name)
    return server.catalog.status(name)


def unrecorded(server: Server) -> Json:
    """What is wrong with history; nothing if all runs are recorded."""
    if not server.history.fault and not server.history.lost:
        return {}
    return {"history": {"error": server.history.fault, "lost": server.history.lost}}


def untold(server: Server) -> Json:
    """Which deliveries of webhooks fail; nothing if all arrive."""
    webhooks = server.webhooks
    counts = {"failing": webhooks.failing, "failed": webhooks.failed, "dropped": webhooks.dropped}
    return {"webhooks": counts} if any(counts.values()) else {}


def dumped(status: Status) -> Json:
    """A status as callers see it, without what is not known."""
    return status.model_dump(mode="json", exclude_none=True)

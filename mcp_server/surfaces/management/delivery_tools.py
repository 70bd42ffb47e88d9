"""The management tool of webhooks: what others were told, and what did not arrive."""

from __future__ import annotations

from dataclasses import asdict
from typing import get_args

from ...models import Json, Webhook
from ...server import Server
from ...store.outbox import Delivering, Delivery
from .history_tools import LIMIT, MOST
from .schemas import COUNT, LIST, STRING, described, gives, takes, tool
from .views import Invocation, moment


class DeliveryTools:
    """Gives structured answers, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._outbox = server.outbox

    async def list(self, call: Invocation) -> Json:
        """A page of deliveries, the newest first."""
        given = call.arguments
        limit: int = given.get("limit", LIMIT)
        found = await self._outbox.listed(
            given.get("event"), given.get("status"), limit + 1, given.get("cursor")
        )
        listed: Json = {"deliveries": [*map(shown, found[:limit])]}
        return listed | ({"next_cursor": found[limit - 1].id} if len(found) > limit else {})


def shown(delivery: Delivery) -> Json:
    """A delivery as callers see it, without what is not known."""
    view = {"run_id" if key == "run" else key: value for key, value in asdict(delivery).items()}
    view["created"] = moment(delivery.created)
    view["version"] = str(delivery.version) if delivery.version else None
    return {key: value for key, value in view.items() if value is not None}


TOOLS: tuple[Json, ...] = (
    tool(
        "list_deliveries",
        "List webhook deliveries",
        "Lists what webhooks told others, the newest first: event, address, attempts, and how it ended.",
        takes(
            {
                "event": described(STRING, "Only this event.", enum=[*get_args(Webhook)]),
                "status": described(STRING, "Only with this status.", enum=[*get_args(Delivering)]),
                "limit": described(COUNT, "How many at most.", minimum=1, maximum=MOST, default=LIMIT),
                "cursor": described(STRING, "next_cursor of the answer before."),
            }
        ),
        gives({"deliveries": LIST, "next_cursor": STRING}),
        readOnlyHint=True,
        idempotentHint=True,
    ),
)

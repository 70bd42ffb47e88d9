"""What a contributor brought: how much better the versions that carry their address made their models."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from ...catalog import VersionStatus
from ...catalog.comparing import gained
from ...server import Server
from ..callers import caller_of
from ..operations import as_json
from .bodies import ADDRESS, fault
from .reading import ORIGIN, iso

CONTRIBUTOR, BENCHMARK = "contributor", "benchmark_metric"
"""The tags of a version that say whose it is, and by which metric its model is judged."""


class Contributors:
    """Answers the one route about them."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog

    async def impact(self, request: Request) -> Response:
        """Tell how much an address improved models: the gain of their metric over the version before."""
        address: str = request.path_params["address"]
        if not ADDRESS.fullmatch(address):
            raise fault("write 0x and 40 hexadecimal digits", "path", "address")
        by, every = caller_of(request, ORIGIN), await self._catalog.all_versions()
        known = {(each.pipeline, each.number): each for each in every if by.may("read", each.pipeline)}
        own = [each for each in known.values() if each.tags.get(CONTRIBUTOR, "").lower() == address.lower()]
        own.sort(key=lambda each: each.created)
        scores = {(each.pipeline, each.number): score(each, known) for each in own}
        times = [iso(each.created) for each in own] or [None]
        return as_json(
            {
                "address": address,
                "total_models_improved": len({name for (name, _), gain in scores.items() if gain > 0}),
                "total_improvement_score": round(sum(scores.values()), 10),
                "contributions": [
                    {
                        "model_id": each.pipeline,
                        "improvement_score": scores[each.pipeline, each.number],
                        "contributed_at": iso(each.created),
                    }
                    for each in own
                ],
                "first_contribution": times[0],
                "last_contribution": times[-1],
            }
        )


def score(version: VersionStatus, known: Mapping[tuple[str, int], VersionStatus]) -> float:
    """How much better it is than its parent in the metric that counts; 0 where that cannot be told."""
    parent = known.get((version.pipeline, version.parent or 0))
    metric = version.tags.get(BENCHMARK) or (parent.tags.get(BENCHMARK) if parent else None)
    if parent is None or metric is None or metric not in version.metrics or metric not in parent.metrics:
        return 0.0
    return float(round(gained(metric, version.metrics[metric] - parent.metrics[metric]), 10))

"""From what is wanted and what serves to what can serve, and to what callers see. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..models import Problem, State
from .deployments import Deployment, Deployments, Wanted
from .entries import Entry, entry

LOST = Problem(message="its files changed, or the disk failed, while they were read; deploy it again")


@dataclass(frozen=True)
class Change:
    """A change that is about to be adopted: `fresh` pipelines get `state`, at the time `now`."""

    serving: Deployments
    fresh: frozenset[str]
    state: State
    now: float
    """Seconds since the epoch."""


def entries(
    wanted: Wanted, failed: Deployments, change: Change, before: Mapping[str, Entry]
) -> Iterator[Entry]:
    """The entries after the change, in no order; the same objects where nothing changed."""
    for name, each in wanted.deployments.items():
        made = _made(each, fault(each, failed), change, before.get(name))
        yield made if made != before.get(name) else before[name]
    for each in wanted.resting.values():
        yield entry(each, "undeployed")


def servable(
    wanted: Deployments, failed: Deployments, before: Deployments, present: Deployments
) -> Deployments:
    """What can serve of what is wanted; in the place of what cannot, what served `before`.

    What serves in the same way at present keeps its version.
    """
    target: dict[str, Deployment] = {}
    for name, each in wanted.items():
        same = present.get(name) if each.same_source(present.get(name)) else None
        if fault(each, failed) is None:
            target[name] = replace(each, version=same.version or each.version) if same else each
        elif name in before:
            target[name] = before[name]
    return target


def fault(wanted: Deployment, failed: Deployments) -> Problem | None:
    """Why what is wanted cannot serve, if that is known."""
    known = failed.get(wanted.name)
    return wanted.problem or (known.problem if known and wanted.same_source(known) else None)


def _made(wanted: Deployment, problem: Problem | None, change: Change, before: Entry | None) -> Entry:
    serving = change.serving.get(wanted.name)
    if serving is None:
        return entry(wanted, "error", problem=problem or LOST)
    if wanted.name in change.fresh or before is None or before.state == "undeployed":
        since = change.now if change.state == "running" else 0.0
        return entry(serving, change.state, problem=problem, since=since)
    if before.state == "error":
        return before
    return entry(serving, before.state, problem=problem, since=before.since)

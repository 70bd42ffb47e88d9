"""The pipelines of one group in their hosts: loaded, called, recovered, retired.

All members start in one host. When it dies it is replaced; a pipeline that was loading then, or in flight
at two deaths within a minute, gets a host of its own, where it can hurt nobody else; after three deaths in
a minute that pipeline alone is given up. A host with work in it that will not stop is retired: new calls go
to its successor, and it is killed when its other calls have ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from ...content import failure
from ...models import Group, Member, Problem, Run, Walls
from .. import Outcome
from ..ongoing import Ongoing
from ..places import Place, PlacesGeneration
from .host import Host
from .launcher import Launcher
from .pending import HostDied

RETIRE_TIME = 30.0
"""Seconds the other calls of a retired host get."""
MINUTE = 60.0
"""Seconds for which a death counts."""
PATIENCE = 3
"""Deaths within a minute after which a serving pipeline is given up."""


class HostPlace(Place):
    """A pipeline, the host that holds it, and how often its host died under it."""

    host: Host

    def __init__(self, member: Member) -> None:
        super().__init__(member)
        self.alone = False
        self._deaths: list[float] = []

    @property
    def replayable(self) -> bool:
        """True if a lost call may be run once more: declared as read-only and idempotent."""
        return self.member.options.hint("readOnlyHint") and self.member.options.hint("idempotentHint")

    def died(self, *, loading: bool) -> None:
        """Its host died while it was loading or in flight."""
        self._deaths.append(time.monotonic())
        self.alone = self.alone or loading or self.deaths > 1

    @property
    def deaths(self) -> int:
        """How often, within the last minute."""
        since = time.monotonic() - MINUTE
        self._deaths = [when for when in self._deaths if when > since]
        return len(self._deaths)


class HostsGeneration(PlacesGeneration[HostPlace]):
    """A generation whose pipelines live in worker processes. Made on the event loop; loads at once."""

    def __init__(self, group: Group, launcher: Launcher, load_timeout: float) -> None:
        super().__init__(group, {member.name: HostPlace(member) for member in group.members})
        self._launcher = launcher
        self._load_timeout = load_timeout
        self._hosts: set[Host] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._fill(self.places.values())

    @property
    def pids(self) -> Mapping[str, int | None]:
        """Which process holds which pipeline now."""
        return {name: place.host.pid for name, place in self.places.items()}

    def launch(self, place: HostPlace, run: Run, ongoing: Ongoing, *, again: bool = True) -> None:
        """Run in its host; a lost call of a read-only idempotent pipeline is run once more."""

        def died(death: HostDied) -> None:
            if again and place.replayable and not ongoing.over:
                self._later(self._once_more(place, run, ongoing))
            else:
                ongoing.put(failure(lost(place, death)))

        ongoing.work = place.host.begin(run, ongoing, died)

    async def _once_more(self, place: HostPlace, run: Run, ongoing: Ongoing) -> None:
        if broken := await self.ready(place):
            ongoing.put(broken)
        elif not ongoing.over:
            self.launch(place, run, ongoing, again=False)

    async def answers(self) -> bool:
        """Every host that is up sends a frame back; see `Generation.answers`."""
        up = [host for host in self._hosts if host.alive and not host.retired]
        serving = any(not isinstance(place.outcome, Problem) for place in self.places.values())
        try:
            await asyncio.gather(*(host.answers() for host in up))
        except HostDied:
            return False
        return bool(up) or not serving

    async def let_go(self, place: HostPlace) -> None:
        """Close one pipeline; its host stays for the others."""
        place.host.close(place.name)

    async def end(self) -> None:
        """End every host; those that still load are killed."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(host.end() for host in list(self._hosts)))

    def _fill(self, places: Iterable[HostPlace]) -> None:
        """Load these, in order, into a new host."""
        chosen = [place for place in places if not place.released]
        if not chosen or self._closing:
            return
        host = Host(self._launcher, self._host_ended, self._retire)
        self._hosts.add(host)
        for place in chosen:
            place.host, place.outcome = host, None
            place.known.clear()
        self._later(self._load(host, chosen))

    async def _load(self, host: Host, places: list[HostPlace]) -> None:
        if self.group.refusal is not None:
            self._hosts.discard(host)
            for place in places:
                self.settle(place, Problem(message=self.group.refusal))
            return
        try:
            await host.start(await self._walls(places))
            for place in places:
                self.settle(place, await self._loaded(host, place))
        except HostDied:
            return  # `_host_ended` has taken over
        except OSError as error:
            self._hosts.discard(host)
            for place in places:
                self.settle(place, Problem(message=f"No process could be started for it: {error.strerror}."))

    async def _walls(self, places: list[HostPlace]) -> Walls | None:
        """The group's, open to the folders where these pipelines lie now."""
        if self.group.walls is None:
            return None
        roots = [await self.locate(place.member) for place in places]
        return self.group.walls.model_copy(update={"own": tuple(root for root in roots if root)})

    async def _loaded(self, host: Host, place: HostPlace) -> Outcome:
        root = await self.locate(place.member)
        if root is None:
            return Problem(message="Its files changed, and no copy of them is left; deploy it again.")
        return await host.load(place.member.model_copy(update={"root": root}), self._load_timeout)

    def _host_ended(self, host: Host) -> None:
        self._hosts.discard(host)
        if host.retired or self._closing:
            return
        for name in host.victims:
            self.places[name].died(loading=name == host.loading)
        self._rehouse(host)

    def _rehouse(self, host: Host) -> None:
        """Give the pipelines of that host new ones: suspects one each, the others one together."""
        homeless = [place for place in self.places.values() if place.host is host]
        hopeless = [place for place in homeless if place.deaths >= (PATIENCE if self.adopted else 1)]
        for place in hopeless:
            self.settle(place, Problem(message=given_up(place, host)))
        for place in homeless:
            if place.alone and place not in hopeless:
                self._fill([place])
        self._fill(place for place in homeless if not place.alone and place not in hopeless)

    def _retire(self, host: Host, name: str) -> None:
        """Send new calls elsewhere; end the host when its other calls have ended or their time is up."""
        if not host.retired and not self._closing:
            host.retired = True
            self._rehouse(host)
            self._later(self._see_off(host))

    async def _see_off(self, host: Host) -> None:
        try:
            async with asyncio.timeout(RETIRE_TIME):
                await host.idle()
        except TimeoutError:
            pass
        host.kill("a call in it would not stop")

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def lost(place: HostPlace, death: HostDied) -> str:
    """What a caller reads whose call went down with a host."""
    if death.alone:
        return f"The pipeline {place.name} ended its process ({death.reason}). It is being loaded again."
    return f"The call was lost with the process it shared with other calls ({death.reason}). Call again."


def given_up(place: HostPlace, host: Host) -> str:
    """What a status says of a pipeline that is not loaded again."""
    if place.deaths == 1:
        return f"The pipeline ended its process while loading ({host.reason})."
    return f"Its process died {place.deaths} times within a minute ({host.reason}). Deploy it again."

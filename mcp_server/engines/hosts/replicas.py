"""A group in several hosts at once: each holds all of it, and a call goes to the one with the least to do.

Each replica is a generation of its own, which replaces its host when that dies; meanwhile the others serve. A
run stays where it began, also while it waits for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ...models import Group, Manifest, Problem, Result, Run
from .. import Locate, Outcome, Report
from ..ongoing import Ongoing
from ..places import Place, PlacesGeneration
from .generation import HostsGeneration


class Replica:
    """One of the generations, and how busy it is."""

    def __init__(self, generation: HostsGeneration) -> None:
        self.generation = generation
        self.going = 0
        self.begun = 0

    def outcome(self, name: str) -> Outcome | None:
        """How it is with the pipeline there; None while it loads."""
        return self.generation.places[name].outcome

    def launch(self, run: Run, ongoing: Ongoing) -> None:
        """As `HostsGeneration.launch`, counted."""
        self.going += 1
        self.begun += 1
        ongoing.left = self._leave
        self.generation.launch(self.generation.places[run.pipeline], run, ongoing)

    def _leave(self) -> None:
        self.going -= 1


class ReplicatedGeneration(PlacesGeneration[Place]):
    """A generation made of others. It loads only if every replica does, and serves as long as one does."""

    def __init__(self, group: Group, generations: Sequence[HostsGeneration]) -> None:
        super().__init__(group, {member.name: Place(member) for member in group.members})
        self._replicas = [Replica(generation) for generation in generations]

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """See `Generation.outcomes`."""
        known = {name: self._outcome(name) for name in self.places}
        return {name: outcome for name, outcome in known.items() if outcome is not None}

    async def settled(self) -> Mapping[str, Outcome]:
        """See `Generation.settled`; what fails in one replica has failed."""
        all_of_them = [await replica.generation.settled() for replica in self._replicas]
        for name, place in self.places.items():
            found = [outcomes[name] for outcomes in all_of_them if name in outcomes]
            problem = next((each for each in found if isinstance(each, Problem)), None)
            place.outcome = problem or found[0]
        return {name: place.outcome for name, place in self.places.items() if place.outcome is not None}

    def adopt(self, report: Report, locate: Locate) -> None:
        """See `Generation.adopt`."""
        super().adopt(report, locate)
        for replica in self._replicas:
            replica.generation.adopt(self._hear, locate)

    def replicas(self, name: str) -> Mapping[str, int]:
        """See `Generation.replicas`."""
        serving = sum(isinstance(replica.outcome(name), Manifest) for replica in self._replicas)
        return {"wanted": len(self._replicas), "serving": serving}

    @property
    def pids(self) -> Mapping[str, Sequence[int | None]]:
        """Which processes hold which pipeline now."""
        return {name: [each.generation.pids[name] for each in self._replicas] for name in self.places}

    def is_ready(self, place: Place) -> bool:
        """True if one serves."""
        return bool(self._serving(place))

    async def ready(self, place: Place) -> Result | None:
        """Wait for the least busy one if none serves."""
        if self._serving(place):
            return None
        chosen = least_busy(self._replicas).generation
        return await chosen.ready(chosen.places[place.name])

    def launch(self, place: Place, run: Run, ongoing: Ongoing) -> None:
        """Run in the replica that serves and has the least to do."""
        least_busy(self._serving(place) or self._replicas).launch(run, ongoing)

    def _serving(self, place: Place) -> list[Replica]:
        return [each for each in self._replicas if isinstance(each.outcome(place.name), Manifest)]

    async def answers(self) -> bool:
        """All of them; see `Generation.answers`."""
        return all(await asyncio.gather(*(each.generation.answers() for each in self._replicas)))

    async def let_go(self, place: Place) -> None:
        """Close one pipeline everywhere."""
        for replica in self._replicas:
            held = replica.generation.places[place.name]
            held.released = True
            await replica.generation.let_go(held)

    async def end(self) -> None:
        """End every replica."""
        await asyncio.gather(*(replica.generation.end() for replica in self._replicas))

    def _outcome(self, name: str) -> Outcome | None:
        """What the replicas are together: it serves if one serves, and fails if all have failed."""
        found = [replica.outcome(name) for replica in self._replicas]
        serving = next((each for each in found if isinstance(each, Manifest)), None)
        return serving or (None if None in found else found[0])

    def _hear(self, name: str, _: Outcome) -> None:
        """One replica came up or is given up; that is news only if it changes what they are together."""
        outcome = self._outcome(name)
        if outcome is not None and outcome != self.places[name].outcome:
            self.settle(self.places[name], outcome)


def least_busy(replicas: Sequence[Replica]) -> Replica:
    """The one with the least to do; of several, the one that had the least."""
    return min(replicas, key=lambda each: (each.going, each.begun))

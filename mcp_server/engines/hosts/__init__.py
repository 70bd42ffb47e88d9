"""Runs pipelines in worker processes; whatever one does, the front and the other hosts go on."""

from __future__ import annotations

from ...models import Group
from ...settings import Settings
from .generation import HostsGeneration
from .launcher import Launcher, environment, open_launcher
from .replicas import ReplicatedGeneration


def open_workshop(settings: Settings) -> HostsWorkshop:
    """The workshop of worker processes."""
    return HostsWorkshop(settings)


class HostsWorkshop:
    """Opens generations in hosts. Hosts with the same environment come from the same launcher."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits = settings.limits()
        self._launchers: dict[tuple[tuple[str, ...], bool], Launcher] = {}

    def open(self, group: Group) -> HostsGeneration | ReplicatedGeneration:
        """Begin to load the group in a new host, or in as many as it wants."""
        sandboxed = group.walls is not None and group.walls.sandbox
        launcher, within = self._launcher(group.env, sandboxed), self._settings.load_timeout
        made = [HostsGeneration(group, launcher, within) for _ in range(group.replicas)]
        return made[0] if len(made) == 1 else ReplicatedGeneration(group, made)

    async def shut(self) -> None:
        """End every host."""
        for launcher in self._launchers.values():
            await launcher.close()

    def _launcher(self, names: tuple[str, ...], sandboxed: bool) -> Launcher:
        """An environment once seen stays readable after a fork: each list of variables has its launcher."""
        if (names, sandboxed) not in self._launchers:
            variables = environment(names, self._settings.variable, sandboxed=sandboxed)
            self._launchers[names, sandboxed] = open_launcher(variables, self._limits)
        return self._launchers[names, sandboxed]

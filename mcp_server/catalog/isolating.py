"""How far each pipeline is walled off, and what its walls let through.

The folder's pipelines and the program's own are their owner's, and so is what the owner uploads to a server
that only this machine reaches. What came over a network is sandboxed: it may ask for less than the settings
allow, and never for more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..access import is_local
from ..engines.confinement import abilities
from ..models import ANY, Isolation, Provenance, Walls
from ..settings import Settings
from .deployments import Deployment


def provenance(settings: Settings) -> Provenance:
    """How an upload comes: over a network if others than this machine's own names or addresses reach us."""
    return "local" if is_local(settings) else "network"


def isolation(deployment: Deployment, settings: Settings) -> Isolation:
    """The level it runs at. A file of the folder may choose; an upload may only choose to be sandboxed."""
    options = deployment.options
    if deployment.origin == "code":
        return "local"
    if options.isolation == "sandbox":
        return "sandbox"
    owned = deployment.provenance == "folder"
    level = settings.isolation or ("sandbox" if deployment.provenance == "network" else "process")
    if owned and (options.isolation or options.engine == "local"):
        level = "process"
    engine = (options.engine if deployment.origin == "folder" else None) or settings.engine
    return "local" if level == "process" and engine == "local" else level


def walls(members: Sequence[Deployment], level: Isolation, settings: Settings) -> Walls | None:
    """The walls around a host of these; None if the process is all."""
    if level == "sandbox":
        database = settings.database()
        kept = (settings.state_folder(), settings.folder, database if isinstance(database, Path) else None)
        return Walls(
            sandbox=True,
            read=(*map(Path.absolute, settings.allow_read), *settings.limits().python_path),
            write=tuple(map(Path.absolute, settings.allow_write)),
            given=(settings.uploads_folder().absolute(),),
            hidden=tuple(place.absolute() for place in kept if place is not None),
            net=tuple(sorted({port for each in members for port in _ports(each, settings)})),
            memory=settings.memory_limit,
            cpu=settings.cpu_limit,
            file_size=settings.file_limit,
        )
    if level == "process" and members[0].provenance != "folder" and abilities().landlock:
        return Walls(write=tuple(map(Path.absolute, settings.allow_write)))
    return None


def variables(members: Sequence[Deployment], level: Isolation, settings: Settings) -> tuple[str, ...]:
    """The environment variables its host may see beyond the basic ones, sorted."""
    everyone = () if level == "sandbox" else settings.env
    return tuple(sorted({*everyone, *(name for each in members for name in each.options.env)}))


def refusal(members: Iterable[Deployment], level: Isolation, settings: Settings) -> str | None:
    """Why these are not loaded: they ask for more than they get here, or there are no walls to be had."""
    if level != "sandbox":
        return None
    for each in members:
        if each.provenance != "network":
            continue
        for name in each.options.env:
            if name not in settings.allow_env:
                return (
                    f"It asks for the variable {name}, which is not for uploads: ask whoever runs this "
                    f"server to allow it with --allow-env {name} (allow_env)."
                )
        for port in each.options.allow_net or ():
            if not {port, ANY} & set(settings.allow_net):
                return (
                    f"It asks for connections to {_named(port)}, which a sandbox does not get here: ask "
                    f"whoever runs this server to allow them with --allow-net {port} (allow_net)."
                )
    if missing := _lacking(list(members), settings):
        return (
            f"It has to run in a sandbox, and this system lacks {' and '.join(missing)}. "
            "With --isolation process (isolation) it runs without."
        )
    return None


def warnings(deployment: Deployment, level: Isolation, settings: Settings) -> tuple[str, ...]:
    """What is not walled off though it should be."""
    if level != "process" or deployment.provenance == "folder":
        return ()
    missing = abilities().lacking(Walls())
    return (f"Uploads can write wherever this server can: the system lacks {missing[0]}.",) if missing else ()


def _lacking(members: Sequence[Deployment], settings: Settings) -> tuple[str, ...]:
    needed = walls(members, "sandbox", settings)
    return abilities().lacking(needed) if needed else ()


def _ports(deployment: Deployment, settings: Settings) -> set[str]:
    asked = deployment.options.allow_net
    granted = set(settings.allow_net)
    if deployment.provenance != "network":
        return granted | set(asked or ())
    if asked is None:
        return granted
    return set(asked) if ANY in granted else granted & set(asked)


def _named(port: str) -> str:
    return "any network" if port == ANY else f"port {port}"

"""Which pipelines share a host: groups, each behind walls of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

from ..models import Group, Isolation, Member
from ..settings import Settings
from .deployments import Deployment
from .isolating import isolation, refusal, variables, walls

Engine = Literal["hosts", "local"]
MAIN = "main"
"""The group of the folder's pipelines."""


def groups(deployments: Iterable[Deployment], settings: Settings) -> dict[str, Group]:
    """Who shares a host, by group name.

    The folder's pipelines share one group, apart from those that list variables: each list is a group of
    its own, so that nobody sees another's keys. An upload is alone, and so is what is sandboxed, and what
    wants replicas: they share no memory. A declared group has all its members, and what any of them lists;
    but what was uploaded, what is sandboxed and what is in this process never share with others.
    """
    members: dict[tuple[str, Isolation], list[Deployment]] = {}
    for deployment in sorted(deployments, key=lambda each: each.name):
        level = isolation(deployment, settings)
        members.setdefault((_group(deployment, level), level), []).append(deployment)
    made = (_made(name, level, group, settings) for (name, level), group in members.items())
    return {group.name: group for group in made}


def alone(deployment: Deployment, settings: Settings) -> Group:
    """The group of a version that serves beside the one in production. Its version must be known."""
    assert deployment.version is not None
    name = f"version.{deployment.name}.{deployment.version.number}"
    return _made(name, isolation(deployment, settings), [deployment], settings)


def _made(name: str, level: Isolation, members: Sequence[Deployment], settings: Settings) -> Group:
    engine: Engine = "local" if level == "local" else "hosts"
    own = engine if engine != settings.engine else None
    return Group(
        name=f"{name}.{own}" if own else name,
        members=tuple(map(_member, members)),
        env=variables(members, level, settings),
        engine=own,
        walls=walls(members, level, settings),
        refusal=refusal(members, level, settings),
        replicas=max(each.options.replicas for each in members),
    )


def _group(deployment: Deployment, level: Isolation) -> str:
    """Names we make hold a dot, which a declared group cannot."""
    declared = (
        deployment.options.group
        if deployment.origin != "code" and deployment.provenance != "network"
        else None
    )
    if level == "sandbox":
        return f"{declared}.sandbox" if declared else f"sandbox.{deployment.name}"
    if deployment.origin != "folder":
        return f"{declared}.{deployment.origin}" if declared else f"{deployment.origin}.{deployment.name}"
    if declared:
        return declared
    if deployment.options.replicas > 1:
        return f"replicas.{deployment.name}"
    if names := sorted(set(deployment.options.env)):
        return f"{MAIN}.{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
    return MAIN


def _member(deployment: Deployment) -> Member:
    return Member(
        name=deployment.name,
        digest=deployment.digest,
        root=deployment.root,
        options=deployment.options,
        load=deployment.load,
    )

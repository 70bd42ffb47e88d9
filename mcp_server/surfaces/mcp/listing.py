"""What is published at one moment: lists of resources, templates and prompts, and who answers for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ...catalog import Entry, Snapshot
from ...models import Caller, Json
from ...pipelines.uris import Template
from .cards import CARD, OLD_SOURCE, SOURCE, TEMPLATES, card_entry
from .teaching import PROMPT
from .toolsets import Toolset

SERVER = ""
"""Who answers for what the server itself publishes, where otherwise a pipeline is named."""

Owned = tuple[Json, str]
"""Something listed in wire form, and the name of the pipeline that publishes it."""


@dataclass(frozen=True)
class Listing:
    """Made once per revision of the catalog, in the order of pipelines: the first to use a name has it."""

    snapshot: Snapshot
    toolset: Toolset
    """Whose pipelines count."""
    caller: Caller
    """Who may see them."""

    @cached_property
    def resources(self) -> Mapping[str, Owned]:
        """By URI: the cards of the pipelines, and what they publish."""
        cards = ((card_entry(entry.listed[0]), SERVER) for entry in self._entries if entry.listed)
        return first("uri", [*cards, *self._published(0)])

    @cached_property
    def templates(self) -> Mapping[str, Owned]:
        """By template: the server's own, and what the pipelines publish."""
        return first("uriTemplate", [*((entry, SERVER) for entry in self._own), *self._published(1)])

    @cached_property
    def prompts(self) -> Mapping[str, Owned]:
        """By name: the server's own for those who may deploy, and what the pipelines publish."""
        teaching = [(PROMPT, SERVER)] if self.caller.may("deploy") else []
        return first("name", [*teaching, *self._published(2)])

    @cached_property
    def topics(self) -> Mapping[str, object]:
        """What clients hear changes of, each with a value that is equal as long as nothing changed."""
        listed = [entry for entry in self._entries if entry.listed]
        cards = {
            CARD.uri(name=entry.name): (entry.listed, self.snapshot.staged.get(entry.name))
            for entry in listed
        }
        return {
            "tools": [entry.listed for entry in listed],
            "prompts": shown(self.prompts),
            "resources": [shown(self.resources), shown(self.templates)],
            **cards,
        }

    def reader(self, uri: str) -> str | None:
        """The pipeline that publishes the resource; None if none does."""
        if uri in self.resources:
            return self.resources[uri][1] or None
        owners = (owner for template, owner in self._patterns if template.values(uri) is not None)
        return next(owners, None)

    @cached_property
    def _patterns(self) -> list[tuple[Template, str]]:
        return [(Template(text), owner) for text, (_, owner) in self.templates.items() if owner]

    @property
    def _own(self) -> tuple[Json, ...]:
        """The server's templates; sources are for those who may deploy."""
        return (
            TEMPLATES
            if self.caller.may("deploy")
            else tuple(
                each for each in TEMPLATES if each["uriTemplate"] not in (SOURCE.text, OLD_SOURCE.text)
            )
        )

    @cached_property
    def _entries(self) -> list[Entry]:
        return [
            entry
            for entry in self.snapshot.entries.values()
            if self.toolset.holds(entry.options) and self.caller.may("read", entry.name)
        ]

    def _published(self, which: int) -> Iterator[Owned]:
        for entry in self._entries:
            yield from ((each, entry.name) for each in entry.published[which])


def shown(owned: Mapping[str, Owned]) -> list[Json]:
    """The list as clients see it."""
    return [item for item, _ in owned.values()]


def first(key: str, items: Iterable[Owned]) -> Mapping[str, Owned]:
    """The items by what `key` says of them, in order."""
    found: dict[str, Owned] = {}
    for item in items:
        found.setdefault(item[0][key], item)
    return found

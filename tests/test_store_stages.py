"""Stages, remarks and deletions on every kind of database: each change is whole, and lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from mcp_server.errors import Conflict, NotFound
from mcp_server.models import Options
from mcp_server.store import Draft, Mark, Place, Store
from mcp_server.store.records import Placing, Remarks, Staging

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["file", "memory", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A new database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("cluster").database()
    return tmp_path / "state" / "state.db" if request.param == "file" else None


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """Versions 1 to 3 of the pipeline p; an upload with the digest c, version 3, serves."""
    opened = Store(place)
    with anyio.fail_after(30):
        await opened.open()
        for number, digest in enumerate("abc", 1):
            parent = number - 1 or None
            await opened.deploy(Draft("p", digest, Options(), "ada", parent=parent), upload=True)
        yield opened
        await opened.close()


async def archived(store: Store) -> dict[int, bool]:
    return {each.version.number: each.archived for each in await store.records("p")}


async def test_records_tell_author_and_parent_by_rising_number(store: Store) -> None:
    records = await store.records("p")
    assert [(each.version.number, each.author, each.parent) for each in records] == [
        (1, "ada", None),
        (2, "ada", 1),
        (3, "ada", 2),
    ]
    assert await store.records("q") == ()


async def test_what_is_deployed_again_comes_out_of_the_archive(store: Store) -> None:
    await store.place(Placing("p", 2, "archived"))
    assert await archived(store) == {1: False, 2: True, 3: False}
    await store.deploy(Draft("p", "b", Options(), "ada"), upload=True)
    assert await archived(store) == {1: False, 2: False, 3: False}


async def test_production_is_the_digest_that_serves_and_leaves_staging(store: Store) -> None:
    revision = await store.revision()
    await store.place(Placing("p", 1, "staging", 0.25))
    assert (await store.marks()).by_name["p"] == Mark("c", undeployed=False, staging=Staging(1, 0.25))
    await store.place(Placing("p", 1, "production", archives=(3,)))
    assert (await store.marks()).by_name["p"] == Mark("a", undeployed=False)
    assert await archived(store) == {1: False, 2: False, 3: True}
    await store.place(Placing("p", 3, "production"))
    assert await archived(store) == {1: False, 2: False, 3: False}
    assert await store.revision() == revision + 3


async def test_production_brings_back_what_was_undeployed(store: Store) -> None:
    await store.undeploy("p")
    await store.place(Placing("p", 2, "production"))
    assert (await store.marks()).by_name["p"] == Mark("b", undeployed=False)


async def test_another_stage_takes_a_version_from_staging_and_only_that_one(store: Store) -> None:
    await store.place(Placing("p", 1, "staging"))
    await store.place(Placing("p", 2, "archived"))
    assert (await store.marks()).by_name["p"].staging == Staging(1)
    await store.place(Placing("p", 1, "none"))
    assert (await store.marks()).by_name["p"] == Mark("c")
    await store.place(Placing("p", 3, "none", unpins=True))
    assert (await store.marks()).by_name["p"] == Mark(None)


async def test_a_folder_pipeline_that_was_never_decided_about_can_be_staged(store: Store) -> None:
    await store.add([Draft("folder", "x", Options(), "folder"), Draft("folder", "y", Options(), "folder")])
    await store.place(Placing("folder", 1, "staging", 1.0))
    assert (await store.marks()).by_name["folder"] == Mark(None, staging=Staging(1, 1.0))


async def test_remarks_are_merged_and_none_takes_away(store: Store) -> None:
    await store.remark("p", 1, Remarks("Good.", {"a": "1", "b": "2"}, {"accuracy": 0.5}))
    await store.remark("p", 1, Remarks(None, {"b": None, "c": "3"}, {"cost": 2}))
    record = (await store.records("p"))[0]
    assert (record.description, record.tags) == ("Good.", {"a": "1", "c": "3"})
    assert record.metrics == {"accuracy": 0.5, "cost": 2}


async def test_a_deleted_version_is_not_there_but_its_number_is_taken(store: Store) -> None:
    await store.place(Placing("p", 2, "staging", 0.5))
    await store.delete("p", 2)
    assert list(await archived(store)) == [1, 3]
    assert (await store.marks()).by_name["p"] == Mark("c")
    assert await store.versions({"p": "b"}) == {} and await store.digests() == {"a", "c"}
    for gone in (
        store.delete("p", 2),
        store.place(Placing("p", 2, "staging")),
        store.remark("p", 2, Remarks("x")),
    ):
        with pytest.raises(NotFound, match="no version 2"):
            await gone
    assert (await store.add([Draft("p", "d", Options(), "ada")])).versions[0].number == 4
    assert (await store.add([Draft("p", "b", Options(), "ada")])).versions[0].number == 2
    assert list(await archived(store)) == [1, 2, 3, 4]


async def test_what_a_person_put_in_production_is_not_deleted(store: Store) -> None:
    revision = await store.revision()
    with pytest.raises(Conflict, match="in production"):
        await store.delete("p", 3)
    assert await store.revision() == revision

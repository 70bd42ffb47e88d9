"""Versions: their list and lineage, what people say about them, their deletion, and comparing two."""

from __future__ import annotations

import pytest

from mcp_server.catalog import VersionStatus
from mcp_server.errors import Conflict, Invalid, NotFound

from .conftest import Opened, Place, until, wrapper

pytestmark = pytest.mark.anyio


async def deployed(server: Opened, *texts: str) -> None:
    for text in texts:
        await server.deploy("adder", text, overwrite=True)


async def one(server: Opened, number: int) -> VersionStatus:
    return next(each for each in await server.catalog.versions("adder") if each.number == number)


async def test_a_version_tells_who_made_it_when_and_from_what(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1), wrapper(2))
        await server.catalog.set_stage("adder", 1, "production")
        await deployed(server, wrapper(3))
        versions = await server.catalog.versions("adder")
    assert [(each.number, each.parent) for each in versions] == [(3, 1), (2, 1), (1, None)]
    assert {each.author for each in versions} == {"anyone"}
    assert versions[0].created >= versions[1].created > 1e9


async def test_an_upload_that_is_not_saved_is_listed_as_that_while_it_serves(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1))
        await server.deploy("adder", wrapper(2), overwrite=True, keep=False)
        await server.deploy("fresh", wrapper(3), keep=False)
        unsaved, saved = await server.catalog.versions("adder")
        assert (unsaved.number, unsaved.stage, unsaved.unsaved, unsaved.author) == (
            2,
            "production",
            True,
            None,
        )
        assert (saved.number, saved.stage, saved.unsaved) == (1, "none", None)
        assert [each.unsaved for each in await server.catalog.versions("fresh")] == [True]
        await server.catalog.undeploy("fresh")
        with pytest.raises(NotFound):
            await server.catalog.versions("fresh")
    async with place.server() as server:
        assert [each.unsaved for each in await server.catalog.versions("adder")] == [None]


async def test_folder_edits_have_parents_also_those_made_while_no_server_ran(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server(reload=True) as server:
        place.pipeline("adder", wrapper(2))
        await until(lambda: server.catalog.status("adder").version == "2")
    place.pipeline("adder", wrapper(3))
    async with place.server() as server:
        versions = await server.catalog.versions("adder")
    assert [(each.number, each.parent, each.author) for each in versions] == [
        (3, 2, "folder"),
        (2, 1, "folder"),
        (1, None, "folder"),
    ]


async def test_it_is_kept_since_when_a_version_has_production(place: Place) -> None:
    async def since(server: Opened) -> tuple[int, float]:
        (found,) = [each for each in await server.catalog.versions("adder") if each.deployed]
        assert found.stage == "production" and found.deployed is not None
        return found.number, found.deployed

    place.pipeline("adder", wrapper(1))
    async with place.server():
        pass
    async with place.server() as server:
        known = [await since(server)]
        await server.deploy("adder", wrapper(2), overwrite=True)
        known.append(await since(server))
        await server.deploy("adder", wrapper(2), overwrite=True)
        assert await since(server) == known[-1], "it has it already"
        await server.catalog.set_stage("adder", 1, "production")
        known.append(await since(server))
    async with place.server() as server:
        assert await since(server) == known[-1]
        await server.catalog.set_stage("adder", 1, "none")
        assert await since(server) == known[-1], "the folder holds the same"
    place.pipeline("adder", wrapper(2))
    for _ in range(2):
        async with place.server() as server:
            known.append(await since(server))
    assert known[-1] == known[-2]
    async with place.server() as server:
        await server.catalog.undeploy("adder")
        assert not any(each.deployed for each in await server.catalog.versions("adder"))
        await server.deploy("adder")
        known[-1] = await since(server)
    assert [number for number, _ in known] == [1, 2, 1, 2, 2]
    assert [seconds for _, seconds in known] == sorted({seconds for _, seconds in known})


async def test_what_people_say_about_a_version_is_kept(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1))
        said = await server.catalog.update_version(
            "adder", 1, tags={"team": "a", "old": "x"}, description="Good.", metrics={"accuracy": 0.8}
        )
        assert (said.description, said.metrics) == ("Good.", {"accuracy": 0.8})
        await server.catalog.update_version("adder", 1, tags={"team": "b", "old": None}, metrics={"cost": 1})
    async with place.server() as server:
        kept = await one(server, 1)
        assert kept.description == "Good."
        assert kept.tags == {"team": "b"}
        assert kept.metrics == {"accuracy": 0.8, "cost": 1}
        with pytest.raises(NotFound):
            await server.catalog.update_version("adder", 2, description="x")
        with pytest.raises(NotFound):
            await server.catalog.versions("nobody")


async def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1), wrapper(2), wrapper(3))
        await server.catalog.set_stage("adder", 2, "staging", share=1)
        await server.catalog.delete_version("adder", 2)
        assert server.catalog.status("adder").stages == {"production": "3"}
        assert await server.add("adder", 1) == 4
        with pytest.raises(NotFound):
            await server.catalog.find("adder", version=2)
        with pytest.raises(NotFound):
            await server.catalog.delete_version("adder", 2)
        with pytest.raises(Conflict, match="in production"):
            await server.catalog.delete_version("adder", 3)
        await deployed(server, wrapper(4))
        await server.catalog.delete_version("adder", 3)
    async with place.server() as server:
        assert [each.number for each in await server.catalog.versions("adder")] == [4, 1]
        await deployed(server, wrapper(5))
        assert server.catalog.status("adder").version == "5"
        await deployed(server, wrapper(2))
        assert server.catalog.status("adder").version == "2", "the same source is the same version"
        assert [each.number for each in await server.catalog.versions("adder")] == [5, 4, 2, 1]


async def test_the_pinned_version_of_an_undeployed_pipeline_is_not_deleted(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1))
        await server.catalog.undeploy("adder")
        with pytest.raises(Conflict):
            await server.catalog.delete_version("adder", 1)


async def test_comparing_shows_source_schema_metrics_and_which_to_use(place: Place) -> None:
    async with place.server() as server:
        asks_more = wrapper(2).replace("number: int)", "number: int, factor: int)")
        await deployed(server, wrapper(1), asks_more)
        await server.catalog.update_version("adder", 1, metrics={"accuracy": 0.85, "latency_ms": 30})
        await server.catalog.update_version("adder", 2, metrics={"accuracy": 0.87, "latency_ms": 25})
        found = await server.catalog.compare_versions("adder", 1, 2)
    assert "--- a/pipeline_wrapper.py" in found.source
    assert "-        return number + 1\n" in found.source and "+        return number + 2\n" in found.source
    assert found.schemas is not None
    changes = [(each.where, each.field, each.change, each.breaks) for each in found.schemas]
    assert changes == [("input", "factor", "added", True)]
    assert found.deltas == {"accuracy": 0.02, "latency_ms": -5}
    assert found.recommendation.version == 2
    assert "accuracy" in found.recommendation.reason and "`factor`" in found.recommendation.reason


@pytest.mark.parametrize(
    ("before", "after", "version", "words"),
    [
        ({}, {"accuracy": 1.0}, None, "No metric is known for both"),
        ({"accuracy": 0.9}, {"accuracy": 0.8}, 1, "better in accuracy"),
        ({"loss": 0.9}, {"loss": 0.8}, 2, "better in loss"),
        ({"accuracy": 0.9, "cost": 2}, {"accuracy": 0.95, "cost": 3}, None, "version 1 in cost"),
        ({"accuracy": 0.9}, {"accuracy": 0.9}, 1, "No metric differs"),
    ],
)
async def test_a_recommendation_follows_from_the_metrics_or_is_left_to_a_person(
    place: Place, before: dict[str, float], after: dict[str, float], version: int | None, words: str
) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1), wrapper(2))
        await server.catalog.update_version("adder", 1, metrics=before)
        await server.catalog.update_version("adder", 2, metrics=after)
        found = (await server.catalog.compare_versions("adder", 1, 2)).recommendation
    assert found.version == version
    assert words in found.reason


async def test_comparing_needs_two_versions_that_are_there(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1))
        with pytest.raises(Invalid):
            await server.catalog.compare_versions("adder", 1, 1)
        with pytest.raises(NotFound):
            await server.catalog.compare_versions("adder", 1, 2)

"""Several servers on one state folder."""

from __future__ import annotations

import pytest

from .conftest import Place, until, wrapper

pytestmark = pytest.mark.anyio


async def test_two_servers_see_each_others_deploys_and_undeploys(place: Place) -> None:
    place.pipeline("mine", wrapper(1))
    async with place.server() as one, place.server() as two:
        await one.deploy("adder", wrapper(5))
        await until(lambda: "adder" in two.tools)
        assert await two.add("adder", 1) == 6
        await two.deploy("adder", wrapper(7), overwrite=True)
        await until(lambda: one.catalog.status("adder").version == "2")
        assert await one.add("adder", 1) == 8
        await two.catalog.undeploy("mine")
        await until(lambda: one.tools == ["adder"])
        await one.catalog.undeploy("adder")
        await until(lambda: two.tools == [])
        await one.deploy("mine")
        await until(lambda: two.tools == ["mine"])
        assert await two.add("mine", 1) == 2


async def test_a_deploy_that_fails_on_one_server_is_not_seen_by_another(place: Place) -> None:
    async with place.server() as one, place.server() as two:
        with pytest.raises(Exception, match="no"):
            await one.deploy("bad", "raise RuntimeError('no')")
        await one.deploy("good", wrapper())
        await until(lambda: two.tools == ["good"])
        assert len(two.catalog.statuses()) == 1


async def test_servers_that_start_at_once_agree_on_the_version(place: Place) -> None:
    place.pipeline("mine", wrapper(1))
    async with place.server(wait=False) as one, place.server(wait=False) as two:
        await one.settled()
        await two.settled()
        assert one.catalog.status("mine").version == two.catalog.status("mine").version == "1"


async def test_a_newer_decision_of_another_server_goes_before_an_unsaved_upload(place: Place) -> None:
    async with place.server() as one, place.server() as two:
        await one.deploy("adder", wrapper(1), keep=False)
        await two.deploy("unrelated", wrapper(1))
        await until(lambda: "unrelated" in one.tools)
        assert await one.add("adder", 1) == 2
        await two.deploy("adder", wrapper(9))
        await until(lambda: one.catalog.status("adder").warnings == ())
        assert await one.add("adder", 1) == 10

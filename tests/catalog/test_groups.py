"""Who shares a host with whom."""

from __future__ import annotations

from pathlib import Path

from mcp_server.catalog.deployments import Deployment, Origin
from mcp_server.catalog.grouping import groups
from mcp_server.models import Options
from mcp_server.settings import Settings


def made(name: str, origin: Origin = "folder", **options: object) -> Deployment:
    return Deployment(name, origin, "digest", Path(name), Options.model_validate(options))


def members(*deployments: Deployment, **settings: object) -> dict[frozenset[str], tuple[str, ...]]:
    found = groups(deployments, Settings.model_validate(settings)).values()
    return {frozenset(member.name for member in each.members): each.env for each in found}


def test_the_folders_pipelines_share_a_group_and_each_upload_is_alone() -> None:
    found = groups([made("b"), made("a"), made("x", "upload"), made("y", "upload")], Settings())
    assert [[member.name for member in each.members] for each in found.values()] == [["a", "b"], ["x"], ["y"]]
    assert "main" in found


def test_pipelines_with_other_variables_do_not_share_a_host() -> None:
    listed = [made("a"), made("b", env=("K", "L")), made("c", env=("L", "K")), made("d", env=("M",))]
    assert members(*listed, env=("Z",)) == {
        frozenset("a"): ("Z",),
        frozenset("bc"): ("K", "L", "Z"),
        frozenset("d"): ("M", "Z"),
    }


def test_a_declared_group_has_what_any_member_lists() -> None:
    found = members(made("a", group="g", env=("K",)), made("b", group="g"))
    assert found == {frozenset("ab"): ("K",)}


def test_an_upload_that_declares_a_group_does_not_join_the_folders_pipelines() -> None:
    declared = [
        made("a", group="g", env=("K",)),
        made("u", "upload", group="g"),
        made("v", "upload", group="g"),
    ]
    assert members(*declared) == {frozenset("a"): ("K",), frozenset("uv"): ()}


def test_adding_a_pipeline_renames_no_group() -> None:
    alone = groups([made("a", env=("K",))], Settings())
    assert alone.keys() < groups([made("a", env=("K",)), made("b")], Settings()).keys()


def test_another_engine_is_another_group_and_an_upload_cannot_choose_one() -> None:
    found = groups(
        [
            made("a"),
            made("b", engine="local"),
            made("c", engine="hosts"),
            made("u", "upload", engine="local"),
        ],
        Settings(engine="hosts"),
    )
    assert {each.members[0].name: each.engine for each in found.values()} == {
        "a": None,
        "b": "local",
        "u": None,
    }


def test_a_pipeline_with_replicas_is_alone_in_them_unless_it_names_a_group() -> None:
    listed = [made("a"), made("b", replicas=3), made("c", group="g", replicas=2), made("d", group="g")]
    found = groups(listed, Settings()).values()
    assert {"".join(member.name for member in each.members): each.replicas for each in found} == {
        "a": 1,
        "b": 3,
        "cd": 2,
    }

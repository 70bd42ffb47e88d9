"""The table of scopes is whole: each tool and each route has its entry, and nothing else has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.routing import Route, WebSocketRoute

from mcp_server.access.scopes import granted
from mcp_server.access.table import ROUTES, TOOLS, needed
from mcp_server.app import create_app
from mcp_server.authentication import gated
from mcp_server.errors import Invalid
from mcp_server.limiting import kind_of
from mcp_server.models import Caller
from mcp_server.settings import Settings
from mcp_server.surfaces import management


async def nothing(request: object) -> None:
    """An endpoint."""


def test_each_management_tool_has_its_scope() -> None:
    assert {tool["name"] for tool in management.TOOLS} == TOOLS.keys()


def test_each_route_has_its_scope_and_nothing_else_is_in_the_table(tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path, state=tmp_path / "state"))
    found: set[str] = set()
    for route in app.routes:
        assert isinstance(route, Route | WebSocketRoute)
        path = route.path.rstrip("/")
        methods = (route.methods if isinstance(route, Route) else {"GET"}) or set[str]()
        found |= {f"{method} {path}" for method in methods - {"HEAD", "OPTIONS"}} or {path}
    found |= {each for each in ROUTES if "/.well-known/" in each}  # there with an authorization server
    assert found == ROUTES.keys()


def test_a_route_without_an_entry_ends_the_start() -> None:
    with pytest.raises(KeyError, match="POST /new"):
        gated([Route("/new", nothing, methods=["POST"])])
    with pytest.raises(KeyError, match="/anything"):
        gated([Route("/anything", object())])


def test_a_route_of_the_registry_is_counted_below_api_as_it_is_without() -> None:
    counted: set[str] = set()
    for method, path in (route.split(" ", 1) for route in ROUTES if " /models" in route):
        plain, below = [
            kind_of({"type": "http", "method": method, "path": start + path}) for start in ("", "/api")
        ]
        assert plain == below, path
        counted |= {path} if plain else set()
    assert counted >= {"/models/register", "/models/{model_id}/lineage", "/models/{name}/{version}/lineage"}
    assert "/models/contributors/{address}/impact" in counted


def test_asking_for_the_methods_of_a_route_needs_no_more_than_reading() -> None:
    assert needed("OPTIONS", "/deploy_files/") == "read"
    assert needed("HEAD", "/status") == "read"


def test_a_scope_grants_what_it_implies() -> None:
    assert granted({"deploy"}) == {"deploy", "run", "read"}
    assert granted({"run:greet", "read"}) == {"run:greet", "read"}
    with pytest.raises(Invalid, match=r"no scope 'run:\.\./x'"):
        granted({"run:../x"})


def test_a_caller_of_one_pipeline_sees_and_runs_that_one() -> None:
    caller = Caller(name="key:1", scopes=frozenset({"run:greet"}))
    assert caller.may("run", "greet") and caller.may("read", "greet") and caller.may("run")
    assert not caller.may("run", "other") and not caller.may("read", "other")
    assert not caller.may("deploy") and not caller.may("deploy", "greet") and not caller.may("admin")


def test_the_documentation_shows_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| `([^`]+)` \| (\w+|–) \|$", text, re.MULTILINE))
    assert shown == {each: need or "–" for each, need in {**TOOLS, **ROUTES}.items()}

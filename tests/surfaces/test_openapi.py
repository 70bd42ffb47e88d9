"""The OpenAPI document: valid, true at any moment, and shown by pages that load nothing from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import yaml
from clients import START_LIMIT, Served, serve
from openapi_spec_validator import validate
from playwright.async_api import Page, async_playwright
from starlette.applications import Starlette
from starlette.routing import Mount

from mcp_server import Settings, create_app

pytestmark = pytest.mark.anyio
WRAPPER = '''
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    title = "Count letters"

    def run_api(self, text: str, times: int = 1) -> int:
        """Counts the letters of a text.

        Args:
            text: What to count.
        """
        return len(text) * times
'''
FILES = {"pipeline_wrapper.py": WRAPPER}


@asynccontextmanager
async def reached(tmp_path: Path, prefix: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server in this process, mounted under a prefix if there is one."""
    app = create_app(Settings(state=tmp_path / "state", engine="local"))
    outer = Starlette(routes=[Mount(prefix, app)], lifespan=app.lifespan) if prefix else app
    with anyio.fail_after(START_LIMIT):
        async with outer.router.lifespan_context(outer):
            transport = httpx.ASGITransport(outer)
            token = (tmp_path / "state" / "token").read_text()  # no connection tells whose this process is
            async with httpx.AsyncClient(
                transport=transport,
                base_url=f"http://127.0.0.1:1416{prefix}",
                headers={"Authorization": f"Bearer {token}"},
            ) as client:
                yield client


async def deploy(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.post("/deploy_files", json={"name": name, "files": FILES})
    assert answer.status_code == 200, answer.text


async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


async def test_it_is_valid_with_pipelines_and_without(tmp_path: Path) -> None:
    async with reached(tmp_path) as client:
        empty = await document(client)
        for name in ("count", "count-a", "count_a"):
            await deploy(client, name)
        full = await document(client)
    for found in (empty, full):
        validate(found)  # pyright: ignore
        identities = [each["operationId"] for path in found["paths"].values() for each in path.values()]
        assert len(identities) == len(set(identities)) > 20
    assert "/{name}/run" in empty["paths"]
    assert "/{name}/run" not in full["paths"]


async def test_a_pipeline_is_told_with_its_own_schemas(tmp_path: Path) -> None:
    async with reached(tmp_path) as client:
        await deploy(client, "count")
        told = (await document(client))["paths"]["/count/run"]["post"]
        answer = (await client.post("/count/run", json={"text": "four", "times": 2})).json()
    takes = told["requestBody"]["content"]["application/json"]["schema"]
    assert takes["properties"]["text"] == {"type": "string", "description": "What to count."}
    assert takes["required"] == ["text"]
    gives = told["responses"]["200"]["content"]["application/json"]["schema"]
    assert gives["properties"]["result"]["type"] == "integer"
    assert (told["summary"], told["description"]) == ("Count letters", "Counts the letters of a text.")
    assert answer == {"result": 8}


async def test_files_can_be_sent_in_a_form(tmp_path: Path) -> None:
    wrapper = "from mcp_server import File\n" + WRAPPER.replace("text: str", "text: list[File]")
    async with reached(tmp_path) as client:
        await client.post("/deploy_files", json={"name": "sizes", "files": {"pipeline_wrapper.py": wrapper}})
        told = (await document(client))["paths"]["/sizes/run"]["post"]["requestBody"]["content"]
        form = told["multipart/form-data"]["schema"]["properties"]
        assert form["text"]["items"] == {"type": "string", "format": "binary"}
        assert form["times"] == told["application/json"]["schema"]["properties"]["times"]
        sent = await client.post("/sizes/run", files=[("text", b"a"), ("text", b"b")], data={"times": "3"})
    assert sent.json() == {"result": 6}


async def test_it_changes_with_deploys_and_only_then(tmp_path: Path) -> None:
    async with reached(tmp_path) as client:
        first = await client.get("/openapi.json")
        same = await client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
        await deploy(client, "count")
        second = await client.get("/openapi.json", headers={"If-None-Match": first.headers["etag"]})
        assert second.status_code == 200 and "/count/run" in second.json()["paths"]
        await client.post("/undeploy/count")
        assert (await client.get("/openapi.json")).headers["etag"] == first.headers["etag"]


async def test_yaml_says_the_same(tmp_path: Path) -> None:
    async with reached(tmp_path) as client:
        await deploy(client, "count")
        answer = await client.get("/openapi.yaml")
        assert answer.headers["content-type"].startswith("application/yaml")
        assert yaml.safe_load(answer.text) == await document(client)


async def test_below_a_prefix_it_leads_there(tmp_path: Path) -> None:
    async with reached(tmp_path, "/a tools") as client:
        found = await document(client)
        page = (await client.get("/docs")).text
    validate(found)  # pyright: ignore
    assert found["servers"] == [{"url": "/a%20tools"}]
    assert "'/a%20tools/openapi.json'" in page and 'src="/a%20tools/docs/assets/' in page


async def test_only_the_surfaces_that_are_served_are_told(tmp_path: Path) -> None:
    app = create_app(Settings(state=tmp_path / "state", surfaces=("status", "docs")))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1416") as client:
            assert set((await document(client))["paths"]) == {"/status", "/status/{name}"}


async def test_without_its_assets_a_page_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)  # as if it were not installed
    async with reached(tmp_path) as client:
        for path in ("/docs", "/redoc"):
            answer = await client.get(path)
            assert answer.status_code == 501
            assert "pip install 'haystack-mcp-server[docs]'" in answer.text
        assert (await client.get("/docs/assets/swagger-ui.css")).status_code == 404


async def test_nothing_but_the_assets_is_given_away(tmp_path: Path) -> None:
    async with reached(tmp_path) as client:
        assert (
            (await client.get("/docs/assets/swagger-ui.css")).headers["content-type"].startswith("text/css")
        )
        for name in ("core.py", "..%2fcore.py", "%2e%2e/core.py"):
            assert (await client.get(f"/docs/assets/{name}")).status_code == 404


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "count").mkdir()
    (folder / "count" / "pipeline_wrapper.py").write_text(WRAPPER)
    async with serve(folder) as running:
        yield running


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a real browser, which fails the test when something is wrong on it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("NOT TESTED: there is no Chromium here; install the system's package `chromium`")
    wrong: list[str] = []
    async with async_playwright() as playwright:
        flags = ["--no-sandbox"] if not hasattr(os, "geteuid") or os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
        page = await browser.new_page()
        page.set_default_timeout(1000 * START_LIMIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if leaves(request.url) else None)
        yield page
        await browser.close()
    assert wrong == []


def leaves(url: str) -> bool:
    """True if a request goes elsewhere. The logo of Redoc would, and is stopped by the page's policy."""
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:")) and "cdn.redoc.ly" not in url


async def test_docs_show_a_pipeline_and_call_it_in_a_real_browser(served: Served, page: Page) -> None:
    await page.goto(f"{served.url}/docs")
    operation = page.locator("#operations-Call_a_pipeline-post_count_run")
    await operation.get_by_text("Count letters").click()
    await operation.locator("textarea").fill('{"text": "four", "times": 3}')
    await operation.get_by_role("button", name="Execute").click()
    shown = await operation.locator(".live-responses-table code").inner_text()
    assert json.loads(shown) == {"result": 12}


async def test_redoc_shows_a_pipeline_in_a_real_browser(served: Served, page: Page) -> None:
    await page.goto(f"{served.url}/redoc")
    await page.get_by_role("heading", name="post_count_run Count letters").wait_for()
    await page.get_by_text("Counts the letters of a text.").wait_for()
    await page.get_by_placeholder("Search").fill("letters")
    await page.locator("[data-role='search:results']").get_by_text("Count letters").first.wait_for()

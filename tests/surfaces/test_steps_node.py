"""A step-wise run driven by the TypeScript SDKs, from a server that is killed twice on the way."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from clients import Served, serve

from .test_node_clients import node, run  # noqa: F401 - `node` is a fixture
from .test_step_tools import ARTICLE, texts

pytestmark = pytest.mark.anyio

Call = tuple[str, dict[str, Any]]


@pytest.mark.parametrize("kind", ["v1", "legacy", "auto"])
async def test_a_run_is_walked_rewound_forked_and_exported_across_two_deaths(
    node: str,  # noqa: F811
    tmp_path: Path,
    kind: str,
) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    folder.mkdir()
    (folder / "article.yml").write_text(ARTICLE)

    async def walk(served: Served, *calls: Call) -> list[dict[str, Any]]:
        return json.loads(await run(node, "walk.mjs", kind, served.url, json.dumps(calls)))

    async with serve(folder, state=state) as served:
        (start,) = await walk(served, ("article", {"topic": "tea"}))
        about = {"run_id": start["run_id"]}
        choose = ("select_response", {**about, "response_ids": ["resp-001"]})
        _, outline = await walk(served, choose, ("execute_step", about))
        assert texts(outline) == {"resp-003": "Outline of Angles on tea"}
        await killed(served)
    async with serve(folder, state=state) as served:
        back, again = await walk(
            served,
            ("rewind_run", {**about, "target_step": "angles"}),
            ("select_response", {**about, "response_ids": ["resp-002"]}),
        )
        assert back["invalidated_steps"] == ["outline"]
        assert (again["step"], again["output"]) == ("outline", "always this")
        (fork,) = await walk(served, ("fork_run", {**about, "from_response_id": "resp-001"}))
        await killed(served)
    async with serve(folder, state=state) as served:
        other = {"run_id": fork["run_id"]}
        mine, its, export = await walk(
            served, ("execute_step", about), ("execute_step", other), ("export_run", about)
        )
    assert list(texts(mine).values()) == ["Outline of always this"]
    assert list(texts(its).values()) == ["Outline of Angles on tea"]
    assert yaml.safe_load(export["yaml"])["pipeline_history"]["angles"]["user_selection"] == 1


async def killed(served: Served) -> None:
    served.process.send_signal(signal.SIGKILL)
    await served.process.wait()

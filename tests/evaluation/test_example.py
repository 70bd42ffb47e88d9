"""Two versions of the example `python_docs`, measured on its golden cases: the better one is promoted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import START_LIMIT, serve
from mcp import Client

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
DOCS, INDEX = EXAMPLES / "python_docs", EXAMPLES / "index_python_docs"
BY_WORDS, BY_ONE_WORD = '" ".join(words)', '" ".join(words[-1:])'
MODULES = ["builtins", "datetime", "html", "json", "os", "posixpath", "statistics"]
METRICS = ["recall", "DocumentMRREvaluator", "DocumentMAPEvaluator", "DocumentNDCGEvaluator"]


def files(*, worse: bool) -> Mapping[str, str]:
    """The example with an index of its own: each version runs in a process of its own."""
    wrapper = (DOCS / "pipeline_wrapper.py").read_text()
    assert BY_WORDS in wrapper
    setup = f"index.standard_library = lambda: {MODULES}\n        index.PipelineWrapper().setup()\n        "
    wrapper = wrapper.replace("self.pipeline = Pipeline()", f"{setup}self.pipeline = Pipeline()")
    wrapper = wrapper.replace(
        "from pydantic import Field", "from pydantic import Field\n\nfrom . import index"
    )
    return {
        "pipeline_wrapper.py": wrapper.replace(BY_WORDS, BY_ONE_WORD) if worse else wrapper,
        "index.py": (INDEX / "pipeline_wrapper.py").read_text(),
        "golden.jsonl": (DOCS / "golden.jsonl").read_text(),
    }


async def asked(client: Client, verb: str, /, **arguments: Any) -> Any:
    """The structured answer, or the text of a refusal."""
    heard: list[float] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append(done)

    result = await client.call_tool(verb, {"name": "python_docs"} | arguments, progress_callback=hear)
    if verb == "evaluate_version":
        assert heard == sorted(heard) and heard[-1] >= 6
    return result.content[0].model_dump()["text"] if result.is_error else result.structured_content


async def test_the_better_of_two_versions_is_promoted_over_mcp(tmp_path: Path) -> None:
    gate = ("--promotion-metric", "recall", "--promotion-score", "0.9")
    (tmp_path / "pipelines").mkdir()
    with anyio.fail_after(2 * START_LIMIT):
        async with serve(tmp_path / "pipelines", *gate) as served, served.client() as client:
            for worse in (False, True):
                deployed = await asked(client, "deploy_pipeline", files=files(worse=worse), overwrite=True)
                assert deployed["pipeline"]["status"] == "running", deployed
            good, bad = [
                (await asked(client, "evaluate_version", version=version, metrics=METRICS))["metrics"]
                for version in ("1", "2")
            ]
            assert good["recall"] == 1.0 and all(good[name] > bad[name] for name in METRICS)
            found = await asked(client, "compare_versions", first="1", second="2")
            assert found["recommendation"]["version"] == "1"
            promoted = await asked(client, "set_stage", version="1", stage="production")
            assert (promoted["version"], promoted["stage"]) == ("1", "production")
            refused = await asked(client, "set_stage", version="2", stage="production")
            assert "0.9 is asked for" in refused
            answer = await client.call_tool("python_docs", {"question": "escape HTML characters"})
            assert answer.structured_content is not None
            assert answer.structured_content["matches"][0]["name"] == "html.escape"

"""Schemathesis over our own OpenAPI document: whatever is sent, no 5xx, and every answer is as it says.

The short form sends a few hundred requests; `--long` sends at least 20,000.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import pytest
import requests
import schemathesis
from anyio import to_thread
from clients import Served, serve
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

pytestmark = pytest.mark.anyio
SHORT, LONG = 4, 360
"""Requests of each operation in each of two modes: as the document says, and against it."""
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
WRAPPERS = {
    "echo": '''
        def run_api(self, text: str, times: int = 1) -> str:
            """Gives a text back."""
            return text * min(max(times, 0), 3)
    ''',
    "total": '''
        def run_api(self, numbers: list[float], names: dict[str, str] | None = None) -> dict[str, float]:
            """Adds numbers."""
            return {"total": float(len(numbers)), "names": float(len(names or {}))}
    ''',
    "words": '''
        async def run_api_async(self, text: str):
            """Streams the words of a text."""
            for word in text.split():
                yield word + " "
    ''',
    "talk": """
        def run_chat_completion(self, model: str, messages: list, body: dict) -> str:
            return f"{len(messages)} messages"
    """,
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("pipelines")
    for name, body in WRAPPERS.items():
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text("class PipelineWrapper:" + body)
    async with serve(folder, "--load-timeout", "10") as running:
        yield running


def sensible(case: Case, choice: int) -> Case:
    """The case, every second time about a pipeline that is there: few would meet one by chance.

    None of these is undeployed, for the others to meet it. A run that gets less time than it takes fails,
    as is asked; so it gets at least some.
    """
    if case.query and isinstance(case.query.get("timeout"), int | float):
        case.query["timeout"] = 30 + abs(case.query["timeout"])
    names = (*WRAPPERS, "gone")
    parameters = case.path_parameters
    if "name" in parameters and choice < len(names) and "undeploy" not in case.path:
        parameters["name"] = names[choice]
    return case


@dataclass
class Bombardment:
    """What was sent, and what went wrong, once for each kind of failure."""

    requests: int
    """Of each operation and mode."""
    session: requests.Session
    answers: Counter[str] = field(default_factory=Counter[str])
    wrong: dict[str, str] = field(default_factory=dict[str, str])

    def everything(self, url: str) -> None:
        """Send to every operation of the document, as it says and against it."""
        load_all_checks()
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        for found in schema.get_all_operations():
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                with suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
                    self.one(found.ok().as_strategy(generation_mode=mode))

    def one(self, cases: st.SearchStrategy[Case]) -> None:
        checks = [CHECKS.get_one(name) for name in CHECKED]

        @given(case=cases, choice=st.integers(0, 2 * len(WRAPPERS)))
        @settings(
            max_examples=self.requests,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def send(case: Case, choice: int) -> None:
            response = sensible(case, choice).call(session=self.session)
            self.answers[str(response.status_code)] += 1
            try:
                case.validate_response(response, checks=checks)
            except FailureGroup as failures:
                for failure in failures.exceptions:
                    kind = f"{case.method} {case.operation.path} {type(failure).__name__}"
                    shown = f"{kind}: {failure}\n{case.as_curl_command()}\n{response.text[:500]}"
                    self.wrong.setdefault(kind, shown)

        send()


@pytest.mark.parametrize("times", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
async def test_whatever_is_sent_is_answered_as_the_document_says(served: Served, times: int) -> None:
    with requests.Session() as session:
        sent = Bombardment(times, session)
        await to_thread.run_sync(sent.everything, served.url)
    answers = sent.answers
    print(dict(answers), answers.total())
    assert not sent.wrong, "\n\n".join(sent.wrong.values())
    assert answers.total() >= (20_000 if times == LONG else 200)
    assert answers["200"] > 0 and answers["400"] > 0
    async with httpx.AsyncClient(trust_env=False) as client:
        status = (await client.get(f"{served.url}/status")).json()
    assert set(WRAPPERS) <= {each["name"] for each in status["details"]}

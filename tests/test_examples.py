"""Every example is deployed on a real server and called by a real client, without network or key."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import clients
import pytest
import yaml
from mcp import Client
from openai import AsyncOpenAI, AuthenticationError
from openai_server import KEY, MODEL, OpenAIServer, openai_server

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[1] / "examples" / "pipelines"
NAMES = sorted(path.stem for path in EXAMPLES.iterdir() if path.name[0] not in "._")
LIMIT = 120.0
"""Seconds for everything in one test: servers start, a thousand source files are parsed."""

Check = Callable[[Client], Awaitable[None]]


async def called(client: Client, tool: str, **arguments: Any) -> tuple[Any, str]:
    """Structured content and text of a call that succeeds."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text
    assert not result.is_error, text
    return result.structured_content, text


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a call that fails."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text


async def agent(client: Client) -> None:
    sums, _ = await called(client, "agent", question="How much is 12 * (3 + 4)?")
    assert sums["answer"] == "The answer is 84."
    use = {"tool": "calculate", "arguments": {"expression": "12 * (3 + 4)"}, "result": "84"}
    assert sums["tools_used"] == [use]
    days, _ = await called(client, "agent", question="How long from 2024-02-01 to 2024-03-01?")
    assert (days["answer"], days["tools_used"][0]["tool"]) == ("The answer is 29.", "days_between")
    failed, _ = await called(client, "agent", question="1 / 0?")
    assert failed["answer"] == "That did not work: division by zero."


async def article(client: Client) -> None:
    inputs = {"source_material": "Tea is picked by hand.", "target_audience": "gardeners"}
    standing, _ = await called(client, "article", **inputs)
    run = standing["run_id"]
    models = {"angles": 2, "outline": 1, "draft": 1, "polish": 2}
    for step, count in models.items():
        assert (standing["step"], len(standing["responses"])) == (step, count)
        assert all(each["cost"] > 0 for each in standing["responses"])
        chosen = standing["responses"][0]["response_id"]
        standing, _ = await called(
            client, "select_response", run_id=run, response_ids=[chosen], user_feedback=f"{step}!"
        )
        if step != "polish":
            standing, _ = await called(client, "execute_step", run_id=run)
    assert standing["status"] == "done"
    assert "Tea is picked by hand." in standing["output"] and "gardeners" in standing["output"]
    written = yaml.safe_load((await called(client, "export_run", run_id=run))[0]["yaml"])
    assert list(written["pipeline_history"]) == list(models)
    assert written["final_article"] == standing["output"]


async def assistant(client: Client) -> None:
    """This client cannot be asked, so the run waits and another call answers."""
    waiting = await refused(client, "assistant", request="Tell Ada that lunch is at noon.")
    (run_id,) = re.findall(r"Run (\w+) waits", waiting)
    change = {"confirm": {"to": "Grace"}}
    done, _ = await called(client, "answer_run", run_id=run_id, answers=change)
    assert done["result"] == {"answer": "Told Grace: lunch is at noon.", "sent": True}
    help_, _ = await called(client, "assistant", request="hello")
    assert (help_["sent"], help_["answer"][:6]) == (False, "Ask me")


async def eliza(client: Client) -> None:
    chunks: list[str | None] = []
    result = await client.call_tool(
        "eliza", {"message": "I am sad about my exams."}, progress_callback=_into(chunks)
    )
    said = result.content[0].text
    assert "sad about your exams" in said
    assert "".join(chunk or "" for chunk in chunks) == said
    first = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hello."}]
    answered, text = await called(client, "eliza", message="It is because of my mother.", messages=first)
    assert answered == {"result": text}


async def index_python_docs(client: Client) -> None:
    report, _ = await called(client, "index_python_docs", modules=["anyio"])
    assert report["documents"] > 50
    assert report["documents_in_index"] > 3000
    found, _ = await called(client, "python_docs", question="open a memory object stream", top_k=10)
    assert any(match["module"].startswith("anyio") for match in found["matches"])
    assert "no_such_module" in await refused(client, "index_python_docs", modules=["no_such_module"])


async def python_docs(client: Client) -> None:
    expected = {
        "which function reads a line from a file?": ".readline",
        "how do I join paths": "os.path.join",
        "pretty print json": "json.dumps",
        "copy a directory tree": "shutil.copytree",
        "split a string into shell words": "shlex.split",
    }
    for question, name in expected.items():
        found, _ = await called(client, "python_docs", question=question)
        matches = found["matches"]
        assert any(match["name"].endswith(name) for match in matches), question
        assert matches == sorted(matches, key=lambda match: -match["score"])
        assert found["answer"].startswith(matches[0]["name"])
    nothing, _ = await called(client, "python_docs", question="xyzzy plugh")
    assert nothing["matches"] == []
    assert "top_k" in await refused(client, "python_docs", question="x", top_k=0)


async def rag(client: Client) -> None:
    answer, text = await called(client, "rag", question="Can I bring my dog?")
    assert text.startswith("Dogs and other animals Dogs stay outside")
    assert answer["data"] == text
    assert answer["documents"][0]["content"].startswith("Dogs")
    assert "embedding" not in answer["documents"][0]


async def split_files(client: Client) -> None:
    files = [{"name": "a.txt", "text": "word " * 300}, {"data": base64.b64encode(b"short").decode()}]
    answer, _ = await called(client, "split_files", files=files)
    lengths = [len(piece["content"].split()) for piece in answer["pieces"]]
    assert lengths == [120, 120, 100, 1]


async def streaming(client: Client) -> None:
    chunks: list[str | None] = []
    result = await client.call_tool("streaming", {"start": 3}, progress_callback=_into(chunks))
    assert result.structured_content == {"result": "3 … 2 … 1 … Ariane 6 has lifted off!"}
    assert "".join(chunk or "" for chunk in chunks) == "3 … 2 … 1 … Ariane 6 has lifted off!"


async def typed(client: Client) -> None:
    order = {
        "customer": "Ada",
        "address": {"street": "Lane 1", "city": "London", "country": "GB"},
        "items": [{"article": "pen", "price": "1.20", "quantity": 3}, {"article": "ink", "price": 5}],
        "ordered": "2024-02-20",
    }
    note = {"name": "note.txt", "text": "Thank you!"}
    result = await client.call_tool("typed", {"order": order, "shipping": "express", "note": note})
    invoice = result.structured_content
    assert (invoice["total"], invoice["due"], invoice["note"]) == ("18.50", "2024-03-05", "Thank you!")
    table = result.content[1].resource
    assert (table.mime_type, table.uri) == ("text/csv", "result:///1/invoice.csv")
    assert table.text == "article,quantity,price,sum\npen,3,1.20,3.60\nink,1,5,5\n"
    order["address"]["country"] = "Britain"
    assert "country" in await refused(client, "typed", order=order)


async def upload(client: Client) -> None:
    files = [
        {"name": "plan.txt", "text": "Breakfast is at eight.\n\nThe bus leaves at nine."},
        {"name": "list.txt", "data": base64.b64encode(b"Bring shoes.").decode()},
    ]
    told: list[str | None] = []
    result = await client.call_tool(
        "upload", {"question": "when does the bus leave?", "files": files}, progress_callback=_into(told)
    )
    best = result.structured_content["result"][0]
    assert (best["file"], best["text"]) == ("plan.txt", "The bus leaves at nine.")
    assert told == ["read plan.txt", "read list.txt"]


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        agent,
        article,
        assistant,
        eliza,
        index_python_docs,
        python_docs,
        rag,
        split_files,
        streaming,
        typed,
        upload,
    )
}


def _into(messages: list[str | None]) -> Callable[[float, float | None, str | None], Awaitable[None]]:
    async def note(progress: float, total: float | None, message: str | None) -> None:
        messages.append(message)

    return note


def test_every_example_has_a_check() -> None:
    assert sorted(CHECKS) == NAMES


@pytest.mark.parametrize(
    "folder", [path for path in EXAMPLES.iterdir() if path.is_dir()], ids=lambda p: p.name
)
def test_an_example_has_three_files_at_most(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert len(files) <= 3


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[clients.Served]:
    """One server for all examples, as a user starts it; no key is set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            patch.delenv(name, raising=False)
        async with clients.serve(EXAMPLES) as served:
            yield served


@pytest.mark.parametrize("name", NAMES)
async def test_an_example_answers(server: clients.Served, name: str) -> None:
    with anyio.fail_after(LIMIT):
        async with server.client() as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert name in tools, "the example does not serve"
            assert len(tools[name].description or "") > 20
            await CHECKS[name](client)


async def test_rag_asks_an_openai_compatible_server_and_streams_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EXAMPLES / "rag", tmp_path / "rag")
    with openai_server(lambda body: "Dogs wait outside.") as model, anyio.fail_after(LIMIT):
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        async with clients.serve(tmp_path) as served, served.client() as client:
            chunks: list[str | None] = []
            question = {"question": "Can I bring my dog?", "top_k": 1}
            result = await client.call_tool("rag", question, progress_callback=_into(chunks))
    assert result.content[0].text == "Dogs wait outside."
    assert "".join(chunk or "" for chunk in chunks) == "Dogs wait outside."
    _asked_with_one_passage(model)


async def test_article_asks_an_openai_compatible_server_for_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = yaml.safe_load((EXAMPLES / "article" / "article.yml").read_text())
    key = {"type": "env_var", "env_vars": ["OPENAI_API_KEY"], "strict": True}
    real = {"type": "haystack.components.generators.chat.openai.OpenAIChatGenerator"}
    parameters = {"api_key": key, "generation_kwargs": {"stream_options": {"include_usage": True}}}
    for model in written["models"].values():
        model |= real | {"init_parameters": parameters}
    (tmp_path / "article.yml").write_text(yaml.safe_dump(written, sort_keys=False))
    with openai_server(lambda body: f"Answer {len(body['messages'])}") as model, anyio.fail_after(LIMIT):
        for name, value in model.environment.items():
            monkeypatch.setenv(name, value)
        async with clients.serve(tmp_path) as served, served.client() as client:
            standing, _ = await called(client, "article", source_material="Tea.")
            run, responses = standing["run_id"], standing["responses"]
            assert [each["text"] for each in responses] == ["Answer 1", "Answer 1"]
            assert [each["tokens"] for each in responses] == [{"input": 1, "output": 1}] * 2
            await called(client, "select_response", run_id=run, response_ids=["resp-001"])
            await called(client, "execute_step", run_id=run)
    assert [request["stream"] for request in model.requests] == [True, True, True]
    assert "Selected angle: Answer 1" in model.requests[2]["messages"][0]["content"]


def _asked_with_one_passage(model: OpenAIServer) -> None:
    (request,) = model.requests
    assert request["stream"] is True
    rules, prompt = (message["content"] for message in request["messages"])
    assert "passages only" in rules
    assert "Passage 1: Dogs" in prompt
    assert "Passage 2" not in prompt
    assert prompt.endswith("Question: Can I bring my dog?")


async def test_rag_says_so_when_the_model_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLES / "rag", tmp_path / "rag")
    with openai_server() as model, anyio.fail_after(LIMIT):
        monkeypatch.setenv("OPENAI_BASE_URL", model.url)
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
        async with clients.serve(tmp_path) as served, served.client() as client:
            reason = await refused(client, "rag", question="Can I bring my dog?")
    assert "API key" in reason
    assert "wrong-key" not in reason


async def test_the_openai_server_for_tests_speaks_to_the_openai_client() -> None:
    with openai_server() as model, anyio.fail_after(LIMIT):
        messages: Any = [{"role": "user", "content": "a b"}]
        async with AsyncOpenAI(base_url=model.url, api_key=KEY) as client:
            assert [listed.id async for listed in client.models.list()] == [MODEL]
            whole = await client.chat.completions.create(model=MODEL, messages=messages)
            assert whole.choices[0].message.content == "You said: a b"
            stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert (len(pieces), "".join(pieces)) == (5, "You said: a b")
        assert [request["messages"] for request in model.requests] == [messages, messages]
        async with AsyncOpenAI(base_url=model.url, api_key="other") as client:
            with pytest.raises(AuthenticationError):
                await client.chat.completions.create(model=MODEL, messages=messages)

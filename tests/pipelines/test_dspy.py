"""DSPy programs as pipelines: what they take and give, which model they ask, how they stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clients import loaded, serve
from openai_server import MODEL, openai_server

from mcp_server.errors import Broken
from mcp_server.pipelines import load
from mcp_server.pipelines.options import kind_of, options_of

HEAD = "import dspy\nfrom dspy.utils import DummyLM\n\n\n"
SIGNATURE = '''class Answer(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField(desc="What to answer.")
    answer: str = dspy.OutputField()
    sure: float = dspy.OutputField(desc="From 0 to 1.")


'''
DUMMY = 'lm = DummyLM([{"reasoning": "so", "answer": "42", "sure": "0.5"}] * 20)\n'
CHAIN = HEAD + SIGNATURE + "program = dspy.ChainOfThought(Answer)\n" + DUMMY


def lay_out(root: Path, text: str, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "program.py").write_text(text)
    for name, content in files.items():
        (root / name.replace("__", ".")).write_text(content)
    return root


def tool(root: Path, text: str, **files: str) -> dict[str, Any]:
    pipeline = load("answer", lay_out(root, text, **files))
    try:
        return pipeline.manifest.tool
    finally:
        pipeline.close()


def problem(root: Path, text: str, **files: str) -> str:
    with pytest.raises(Broken) as refused:
        load("answer", lay_out(root, text, **files))
    return str(refused.value)


def test_a_signature_is_the_schema_of_the_tool(tmp_path: Path) -> None:
    made = tool(tmp_path, CHAIN)
    assert made["description"] == "Answer the question."
    assert made["inputSchema"]["properties"] == {
        "question": {"type": "string", "description": "What to answer."}
    }
    assert made["inputSchema"]["required"] == ["question"]
    given = made["outputSchema"]["properties"]
    assert set(given) == {"reasoning", "answer", "sure"}
    assert given["sure"] == {"type": ["number", "null"], "description": "From 0 to 1."}  # it may be NaN


TWICE = """class Twice(dspy.Module):
    def forward(self, text: str, times: int = 2):
        return text
"""
LATE = """class Late(dspy.Module):
    async def aforward(self, text: str):
        return text
"""


@pytest.mark.parametrize(
    ("rest", "takes"), [("", {"question"}), (TWICE, {"text", "times"}), (LATE, {"text"})]
)
def test_the_one_program_of_a_file_needs_no_name(tmp_path: Path, rest: str, takes: set[str]) -> None:
    assert set(tool(tmp_path, HEAD + SIGNATURE + rest + DUMMY)["inputSchema"]["properties"]) == takes


@pytest.mark.parametrize(
    ("text", "files", "said"),
    [
        (HEAD + SIGNATURE, {}, "program.py: say which model it uses"),
        (HEAD + DUMMY, {}, "program.py: defines 0 programs"),
        (HEAD + SIGNATURE + SIGNATURE.replace("Answer(", "Other(") + DUMMY, {}, "defines 2 programs"),
        (CHAIN, {"program__pkl": "cos\nsystem\n(S'touch ran'\ntR."}, "program.pkl is pickled"),
        (CHAIN, {"program__json": "{"}, "program.json: is no state of this program"),
        (HEAD + "raise SystemExit(3)\n", {}, "program.py, line 5"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    tmp_path: Path, text: str, files: dict[str, str], said: str
) -> None:
    assert said in problem(tmp_path, text, **files)


def test_a_saved_state_changes_what_the_model_is_asked(tmp_path: Path) -> None:
    import dspy

    class Answer(dspy.Signature):
        """Answer in verse."""

        question: str = dspy.InputField()
        answer: str = dspy.OutputField()

    dspy.Predict(Answer).save(tmp_path / "program.json")
    plain = HEAD + SIGNATURE.replace('    sure: float = dspy.OutputField(desc="From 0 to 1.")\n', "")
    made = tool(tmp_path, plain + "program = dspy.Predict(Answer)\n" + DUMMY)
    assert made["description"] == "Answer in verse."


def test_its_kind_and_options_are_known_without_running_it() -> None:
    text = HEAD + 'metadata = {"title": "Ask", "timeout": 7, "read_only": True}\nraise RuntimeError\n'
    files = {"program.py": text.encode()}
    assert kind_of(files) == ("dspy", "program.py")
    options = options_of(files)
    assert (options.title, options.timeout, options.group) == ("Ask", 7, "dspy")
    assert options.hint("readOnlyHint")
    assert kind_of({"program.py": b"print('another program')\n"}) != ("dspy", "program.py")


@pytest.mark.anyio
async def test_a_program_asks_a_real_model_and_streams_what_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")  # the environment goes before the file
    text = (
        (HEAD + SIGNATURE.replace('    sure: float = dspy.OutputField(desc="From 0 to 1.")\n', ""))
        + f"""program = dspy.Predict(Answer)
stream = True
metadata = {{"env": ["OPENAI_API_KEY", "OPENAI_BASE_URL"]}}
import os
lm = dspy.LM(
    "openai/{MODEL}",
    api_base=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
    cache=False,
)
"""
    )
    answer = "[[ ## answer ## ]]\nIt is forty two, and it has always been so.\n\n[[ ## completed ## ]]"
    lay_out(tmp_path / "pipelines" / "answer", text)
    with openai_server(lambda body: answer) as model:
        dotenv = "".join(f"{name}={value}\n" for name, value in model.environment.items())
        (tmp_path / ".env").write_text(dotenv)
        async with serve(tmp_path / "pipelines", "-C", str(tmp_path)) as served:
            await loaded(served.url)
            heard: list[str] = []

            async def hear(done: float, total: float | None, message: str | None) -> None:
                heard.append(message or "")

            async with served.client() as client:
                told = await client.call_tool("answer", {"question": "What is it?"}, progress_callback=hear)
    assert told.structured_content == {"answer": "It is forty two, and it has always been so."}
    assert "forty" in "".join(heard)
    assert "What is it?" in json.dumps(model.requests)

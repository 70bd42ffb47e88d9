"""Folders with a `pipeline_wrapper.py`: loaded in place, called, closed; and what they say when they do not load."""

# ruff: noqa: E501 - sources of wrappers and what is told about them read best as one row each

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import pytest

from mcp_server.errors import Broken, Invalid
from mcp_server.models import Caller, Chunk, Event, Problem
from mcp_server.pipelines import Pipeline, load
from mcp_server.pipelines.context import Context
from mcp_server.pipelines.wrapper import claims

pytestmark = pytest.mark.anyio


class Folder:
    """A folder of pipelines, and whatever was loaded from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loaded: list[Pipeline] = []
        self.events: list[Event] = []

    def write(self, name: str, wrapper: str = "", **files: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        if wrapper:
            (folder / "pipeline_wrapper.py").write_text(dedent(wrapper))
        for path, text in files.items():
            file = folder / path.replace("__", "/").replace("_txt", ".txt")
            file = file if file.suffix else file.with_suffix(".py")
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_text(dedent(text))
        return folder

    def load(self, name: str, wrapper: str = "", **files: str) -> Any:
        pipeline = load(name, self.write(name, wrapper, **files))
        self.loaded.append(pipeline)
        return pipeline

    def problem(self, wrapper: str, **files: str) -> Problem:
        modules, finders = set(sys.modules), list(sys.meta_path)
        with pytest.raises(Broken) as caught:
            self.load("broken", wrapper, **files)
        assert not [name for name in set(sys.modules) - modules if name.startswith("pipeline_")]
        assert sys.meta_path == finders
        assert str(self.root) not in str(caught.value)
        return caught.value.problem

    @property
    def context(self) -> Context:
        return Context("run", Caller(), self.events.append)

    async def call(self, pipeline: Pipeline, **arguments: Any) -> Any:
        """As an engine does: in a thread, or on the loop."""
        if not pipeline.manifest.blocking:
            return await pipeline.call(arguments, self.context)
        return await anyio.to_thread.run_sync(pipeline.call, arguments, self.context)

    @property
    def chunks(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Chunk)]


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    folder = Folder(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield folder
    for pipeline in folder.loaded:
        pipeline.close()
    left = [
        name
        for name in set(sys.modules) - before
        if name.startswith("pipeline_") or name.rpartition(".")[2] in ("helper", "late_helper")
    ]
    assert left == []
    assert sys.path == path
    assert not list(tmp_path.rglob("__pycache__"))


PLAIN = '''
    from enum import Enum
    from pydantic import BaseModel

    class Mode(Enum):
        fast = "fast"
        good = "good"

    class Answer(BaseModel):
        """What was found."""
        text: str
        mode: Mode

    class PipelineWrapper:
        title = "Find things"
        read_only = True

        def setup(self):
            self.prefix = "found: "

        def run_api(self, question: str, mode: Mode = Mode.fast) -> Answer:
            """Find an answer.

            Looks everywhere.

            Args:
                question: What to find.
                mode: How hard to try.
            """
            return Answer(text=self.prefix + question, mode=mode)
'''


def test_a_folder_with_the_file_is_claimed(folder: Folder) -> None:
    root = folder.write("a", PLAIN)
    assert claims(root) == root / "pipeline_wrapper.py"
    assert claims(root.parent) is None


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
async def test_a_plain_wrapper_is_described_and_called(folder: Folder, future: str) -> None:
    pipeline = folder.load("find_things", future + dedent(PLAIN))
    tool = pipeline.manifest.tool
    assert pipeline.manifest.blocking
    assert pipeline.manifest.warnings == ()
    assert tool == {
        "name": "find_things",
        "title": "Find things",
        "description": "Find an answer.\n\nLooks everywhere.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "question": {"type": "string", "description": "What to find."},
                "mode": {
                    "type": "string",
                    "description": "How hard to try.",
                    "enum": ["fast", "good"],
                    "default": "fast",
                },
            },
            "required": ["question"],
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "description": "What was found.",
            "properties": {"text": {"type": "string"}, "mode": {"type": "string", "enum": ["fast", "good"]}},
            "required": ["text", "mode"],
        },
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": False,
            "openWorldHint": True,
        },
    }
    answer = await folder.call(pipeline, question="x", mode="good")
    assert answer.text == "found: x"
    assert answer.mode.name == "good"
    with pytest.raises(Invalid, match="question"):
        await folder.call(pipeline)


async def test_hints_and_title_have_honest_defaults(folder: Folder) -> None:
    tool = folder.load(
        "write_it", "class PipelineWrapper:\n    def run_api(self, a: int):\n        return a\n"
    ).manifest.tool
    assert tool["title"] == "write it"
    assert tool["annotations"] == {
        "readOnlyHint": False,
        "destructiveHint": True,
        "idempotentHint": False,
        "openWorldHint": True,
    }
    assert "outputSchema" not in tool
    assert tool["description"]


async def test_a_missing_docstring_is_a_warning(folder: Folder) -> None:
    pipeline = folder.load(
        "a", "class PipelineWrapper:\n    def run_api(self, **options):\n        return 1\n"
    )
    assert [("docstring" in w, "**options" in w) for w in pipeline.manifest.warnings] == [
        (False, True),
        (True, False),
    ]
    assert await folder.call(pipeline) == 1


@pytest.mark.parametrize(
    ("method", "blocking", "chunks"),
    [
        ("def run_api(self, n: int) -> str:\n return 'ab'", True, []),
        (
            "def run_api(self, n: int) -> Generator[str, None, None]:\n yield 'a'\n yield 'b'",
            True,
            ["a", "b"],
        ),
        ("def run_api(self, n: int):\n return (c for c in 'ab')", True, ["a", "b"]),
        ("async def run_api_async(self, n: int) -> str:\n return 'ab'", False, []),
        (
            "async def run_api_async(self, n: int) -> AsyncGenerator[str, None]:\n yield 'a'\n yield 'b'",
            False,
            ["a", "b"],
        ),
        ("async def run_api_async(self, n: int) -> AsyncGenerator:\n return give()", False, ["a", "b"]),
        ("def run_api(self, n: int) -> AsyncGenerator[str, None]:\n return give()", False, ["a", "b"]),
        ("async def run_api(self, n: int) -> str:\n return 'ab'", False, []),
    ],
)
async def test_every_form_of_method_gives_the_same(
    folder: Folder, method: str, blocking: bool, chunks: list[str]
) -> None:
    lines = "\n".join(f"    {line}" for line in method.splitlines())
    source = (
        "from collections.abc import AsyncGenerator, Generator\n"
        "async def give():\n    yield 'a'\n    yield 'b'\n"
        f"class PipelineWrapper:\n{lines}\n"
    )
    pipeline = folder.load("a", source)
    assert pipeline.manifest.blocking is blocking
    assert await folder.call(pipeline, n=1) == "ab"
    assert folder.chunks == chunks


async def test_the_async_method_is_preferred_and_the_context_is_given(folder: Folder) -> None:
    pipeline = folder.load(
        "a",
        """
        from mcp_server import Context, PipelineWrapper as Base

        class PipelineWrapper(Base):
            def run_api(self, n: int) -> int:
                return 0

            async def run_api_async(self, n: int, context: Context) -> str:
                context.chunk("hello")
                return context.run
        """,
    )
    assert list(pipeline.manifest.tool["inputSchema"]["properties"]) == ["n"]
    assert await folder.call(pipeline, n=1) == "run"
    assert folder.chunks == ["hello"]


async def test_a_wrapper_that_only_chats_takes_a_message(folder: Folder) -> None:
    pipeline = folder.load(
        "chatty",
        '''
        from mcp_server import PipelineWrapper as Base

        class PipelineWrapper(Base):
            async def run_chat_completion_async(self, model: str, messages: list[dict], body: dict):
                """Chat about the weather."""
                assert body["messages"] == messages and body["model"] == model
                for message in messages:
                    yield f"{model} {message['role']} {message['content']};"
        ''',
    )
    tool = pipeline.manifest.tool
    assert tool["description"] == "Chat about the weather."
    assert tool["inputSchema"]["required"] == ["message"]
    assert list(tool["inputSchema"]["properties"]) == ["message", "messages"]
    assert await folder.call(pipeline, message="hi") == "chatty user hi;"
    earlier = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    answer = await folder.call(pipeline, message="c", messages=earlier)
    assert answer == "chatty user a;chatty assistant b;chatty user c;"
    assert inspect.isasyncgenfunction(pipeline.wrapper.run_chat_completion_async)


async def test_data_files_and_imports_work_at_load_and_in_calls(folder: Folder) -> None:
    pipeline = folder.load(
        "a",
        """
        from pathlib import Path
        from .helper import NAME
        import helper
        import parts.inner as inner
        from parts import inner as again

        TEXT = (Path(__file__).parent / "data.txt").read_text()

        class PipelineWrapper:
            def run_api(self) -> list[str]:
                import late_helper
                import parts.inner
                from .late_helper import LATE
                from parts.inner import DEEP
                assert helper.NAME == NAME and inner is again is parts.inner
                return [TEXT, NAME, LATE, late_helper.LATE, DEEP, (Path(__file__).parent / "data.txt").read_text()]
        """,
        data_txt="data",
        helper="import late_helper\nNAME = 'name'\n",
        late_helper="LATE = 'late'\n",
        parts__inner="import helper\nDEEP = 'deep' + helper.NAME\n",
    )
    assert await folder.call(pipeline) == ["data", "name", "late", "late", "deepname", "data"]


async def test_two_pipelines_with_the_same_helper_do_not_mix(folder: Folder) -> None:
    source = """
        import helper

        class PipelineWrapper:
            def run_api(self) -> str:
                import helper as again
                from helper import late
                return helper.NAME + again.NAME + late()
    """
    helper = "NAME = {!r}\ndef late():\n    import other_helper\n    return other_helper.NAME\n"
    names = ("a", "b")
    pipelines = [
        folder.load(name, source, helper=helper.format(name), other_helper=f"NAME = {name * 2!r}")
        for name in names
    ]
    assert [await folder.call(pipeline) for pipeline in pipelines] == ["aaaa", "bbbb"]
    assert "helper" not in sys.modules


async def test_two_generations_do_not_mix_however_fast_the_edit(folder: Folder) -> None:
    source = """
        import helper

        class PipelineWrapper:
            def run_api(self) -> str:
                from late_helper import NAME
                return helper.NAME + NAME
    """
    old = folder.load("a", source, helper="NAME = '1'", late_helper="NAME = '1'")
    assert await folder.call(old) == "11"
    new = folder.load("a", source, helper="NAME = '2'", late_helper="NAME = '2'")
    assert [await folder.call(old), await folder.call(new)] == ["11", "22"]


async def test_a_sibling_does_not_shadow_the_standard_library(folder: Folder) -> None:
    source = "import json\nfrom .json import MINE\nclass PipelineWrapper:\n    def run_api(self) -> str:\n        return json.dumps(MINE)\n"
    assert await folder.call(folder.load("a", source, json="MINE = [1]")) == "[1]"


async def test_a_package_with_an_init_works(folder: Folder) -> None:
    source = (
        "from . import NAME\nclass PipelineWrapper:\n    def run_api(self) -> str:\n        return NAME\n"
    )
    root = folder.write("a", source)
    (root / "__init__.py").write_text("NAME = 'init'\n")
    assert await folder.call(folder.load("a")) == "init"


async def test_haystack_pipelines_are_warmed_up_once_and_torn_down(folder: Folder) -> None:
    pipeline = load(
        "warm",
        folder.write(
            "warm",
            """
            from haystack import Pipeline, component
            from mcp_server import PipelineWrapper as Base

            @component
            class Warm:
                warmed = 0

                def warm_up(self):
                    self.warmed += 1

                @component.output_types(warmed=int)
                def run(self, n: int):
                    return {"warmed": self.warmed}

            class PipelineWrapper(Base):
                closed = False

                def setup(self):
                    self.pipeline = Pipeline()
                    self.pipeline.add_component("warm", Warm())

                def run_api(self, n: int) -> int:
                    return self.pipeline.get_component("warm").warmed

                def teardown(self):
                    self.closed = True
            """,
        ),
    )
    assert await folder.call(pipeline, n=1) == 1
    pipeline.close()
    assert pipeline.wrapper.closed  # type: ignore[attr-defined]


def test_modules_are_forgotten_even_if_teardown_raises(folder: Folder) -> None:
    source = "class PipelineWrapper:\n    def run_api(self):\n        pass\n    def teardown(self):\n        raise OSError\n"
    pipeline = load("a", folder.write("a", source))
    with pytest.raises(OSError):
        pipeline.close()
    assert not [name for name in sys.modules if name.startswith("pipeline_a_")]


HEAD = "class PipelineWrapper:\n"


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("x = 1\ndef broken(:\n", 2, "invalid syntax"),
        ("x = 1\nimport no_such_thing\n", 2, "`pip install no-such-thing`"),
        ("import yaml_\nimport cv2\n", 1, "`pip install yaml-`"),
        ("from haystack_integrations.document_stores.elastic_search import X\n", 1, "`pip install elastic-search-haystack`"),
        ("from hayhooks.durable.context import DurableContext\n", 1, "`hayhooks.durable.context` has no stand-in here"),
        ("from .nope import x\n", 1, "there is no module `nope` beside the wrapper"),
        ("import haystack.nope\n", 1, "there is no module `haystack.nope` in the installed `haystack`"),
        ("from . import pipeline_wrapper\nfrom .pipeline_wrapper import x\n", 2, "partially initialized module 'pipeline_wrapper'"),
        (HEAD + "    def run_api(self):\n        pass\n    def setup(self):\n        raise ValueError('no component') from ImportError(\"Run 'pip install thing'\")\n", 5, "Run 'pip install thing'"),
        ("from json import nothing\n", 1, "cannot import name 'nothing' from 'json'"),
        ("x = 1\n", None, "define a class named `PipelineWrapper`"),
        ("from mcp_server import PipelineWrapper\n", None, "define a class named `PipelineWrapper`"),
        (HEAD + "    pass\n", None, "defines none of run_api_async, run_api"),
        (HEAD + "    def run_api(self, a):\n        pass\n", 2, "annotate the parameter `a` of `run_api`"),
        (HEAD + "    def run_api(self, a: Nope):\n        pass\n", 2, "'Nope'"),
        (HEAD + "    timeout = 'x'\n    def run_api(self):\n        pass\n", 2, "`timeout` must be"),
        ("x = 1\n1 / 0\n", 2, "importing it raised ZeroDivisionError: division by zero"),
        ("x = 1\nimport sys\nsys.exit(3)\n", 3, "importing it tried to end the process"),
        (HEAD + "    def run_api(self):\n        pass\n    def setup(self):\n        self.x\n", 5, "`setup` raised AttributeError"),
        (HEAD + "    def run_api(self):\n        pass\n    def setup(self):\n        import json\n        json.loads('{')\n", 6, "`setup` raised JSONDecodeError"),
        (HEAD + "    def run_api(self):\n        pass\n    async def setup(self):\n        pass\n", 4, "plain function"),
        (HEAD + "    def __init__(self, x):\n        pass\n    def run_api(self):\n        pass\n", None, "`PipelineWrapper()` raised TypeError"),
    ],
)  # fmt: skip
def test_what_an_author_can_mend_is_told_with_its_line(
    folder: Folder, source: str, line: int | None, words: str
) -> None:
    problem = folder.problem(source)
    assert words in problem.message
    assert problem.line == line
    assert problem.file in ("pipeline_wrapper.py", None)
    assert len(problem.message) < 500


def test_a_fault_in_a_sibling_is_told_there(folder: Folder) -> None:
    source = "from .helper import x\n" + HEAD + "    def run_api(self):\n        pass\n"
    assert folder.problem(source, helper="\n\nx = 1 / 0\n").model_dump(include={"file", "line"}) == {
        "file": "helper.py",
        "line": 3,
    }
    assert folder.problem(source, helper="\n(\n").file == "helper.py"


def test_paths_of_the_machine_are_not_told(folder: Folder) -> None:
    source = (
        HEAD
        + f"    def run_api(self):\n        pass\n    def setup(self):\n        open({str(folder.root)!r} + '/no/file')\n"
    )
    problem = folder.problem(source)
    assert "file" in problem.message
    assert str(folder.root) not in problem.message


@pytest.mark.parametrize(
    ("requirements", "line", "words"),
    [
        ("# ours\n\nhaystack-ai>=3\nno-such-package>=1.2\n", 4, 'no-such-package is not installed: `pip install "no-such-package>=1.2"`'),
        ("pydantic<1\nother_missing[extra]\n", 1, 'is installed, pydantic<1 is required: `pip install "pydantic<1" "other_missing[extra]"`'),
    ],
)  # fmt: skip
def test_unmet_requirements_name_the_command_that_mends_them(
    folder: Folder, requirements: str, line: int, words: str
) -> None:
    problem = folder.problem(dedent(PLAIN), requirements_txt=requirements)
    assert problem.file == "requirements.txt"
    assert problem.line == line
    assert words in problem.message


def test_met_and_unreadable_requirements_do_not_matter(folder: Folder) -> None:
    text = "-r other.txt\n./local\npydantic>=2  # yes\nno-such; python_version < '3'\nfoo bar baz\n--hash=x\n"
    assert folder.load("a", PLAIN, requirements_txt=text).manifest.kind == "wrapper"

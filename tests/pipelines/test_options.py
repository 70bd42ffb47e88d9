"""What files say about a pipeline is read without running them."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from mcp_server.errors import Broken
from mcp_server.models import Problem
from mcp_server.pipelines.options import hints, kind_of, options_of, tool_of
from mcp_server.pipelines.syntax import check_syntax

YAML = "components:\n  a: {type: haystack.x.Y}\n"


def wrapper(attributes: str) -> dict[str, bytes]:
    body = textwrap.indent(textwrap.dedent(attributes), "    ")
    return {"pipeline_wrapper.py": f"class PipelineWrapper(Base):\n{body}\n    x = 1\n".encode()}


def yaml(metadata: str) -> dict[str, bytes]:
    return {"p.yml": (YAML + "metadata:\n" + textwrap.indent(textwrap.dedent(metadata), "  ")).encode()}


def test_a_wrapper_declares_its_options_as_class_attributes() -> None:
    options = options_of(
        wrapper("""
        title = "Search"
        description: str = "Finds " "things."
        timeout = 60
        cache = 1.5
        concurrency = 2
        group = "search"
        engine = "local"
        env = ["OPENAI_API_KEY"]
        tags = ("demo", "rag")
        hidden = True
        annotations = {"readOnlyHint": True}
        open_world = False
        setup_done = object()
        """)
    )
    assert options.model_dump(exclude_unset=True) == {
        "title": "Search",
        "description": "Finds things.",
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
        "timeout": 60,
        "cache": 1.5,
        "concurrency": 2,
        "group": "search",
        "engine": "local",
        "env": ("OPENAI_API_KEY",),
        "tags": ("demo", "rag"),
        "hidden": True,
    }


def test_a_yaml_declares_the_same_under_metadata_mcp() -> None:
    options = options_of(
        yaml("""
        mcp:
          title: Search
          timeout: 1.5
          env: [KEY]
          read_only: true
          annotations: {idempotentHint: true}
          hidden: false
        """)
    )
    assert (options.title, options.timeout, options.env) == ("Search", 1.5, ("KEY",))
    assert options.annotations == {"readOnlyHint": True, "idempotentHint": True}


def test_plain_metadata_counts_where_it_fits_and_mcp_wins() -> None:
    options = options_of(
        yaml("""
        title: Plain
        description: What it does.
        tags: [a]
        env: production
        group: team
        mcp: {title: Ours}
        """)
    )
    assert (options.title, options.description, options.tags) == ("Ours", "What it does.", ("a",))
    assert (options.env, options.group) == ((), None)


def test_nothing_declared_means_the_defaults() -> None:
    assert options_of(wrapper("pass")) == options_of({"p.yml": YAML.encode()}) == options_of({"a.txt": b""})


def test_none_means_not_declared() -> None:
    assert options_of(wrapper("engine = None\ntimeout = None\ntags = None")) == options_of(wrapper("pass"))


@pytest.mark.parametrize("value", ["{}", "dict()", "[]", "None"])
def test_a_cache_that_a_wrapper_keeps_for_itself_is_no_option(value: str) -> None:
    assert options_of(wrapper(f"cache = {value}")) == options_of(wrapper("pass"))


def test_hayhooks_word_for_hidden_works() -> None:
    assert options_of(wrapper("skip_mcp = True")).hidden


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("timeout = '60'", "`timeout` must be a number of seconds above 0"),
        ("cache = 0", "`cache` must be a number of seconds above 0"),
        ("cache = 60 * 60", "`cache` must be written out as a number of seconds above 0"),
        ("timeout = 0", "`timeout` must be a number of seconds above 0"),
        ("concurrency = 1.5", "`concurrency` must be a whole number from 1"),
        ("title = 3", "`title` must be a string"),
        ("tags = 'demo'", "`tags` must be a list of strings"),
        ("env = ['A B']", "`env` must be a list of names of environment variables"),
        ("group = 'a b'", "`group` must be a name of up to 64 letters"),
        ("engine = 'thread'", "`engine` must be `hosts` or `local`"),
        ("read_only = 1", "`read_only` must be true or false"),
        ("annotations = {'readonly': True}", "`annotations` must be a mapping of readOnlyHint, "),
        ("timeout = LIMIT", "`timeout` must be written out as a number of seconds above 0"),
    ],
)
def test_an_option_that_does_not_fit_is_told_with_its_line(line: str, expected: str) -> None:
    with pytest.raises(Broken) as refused:
        options_of(wrapper(f"other = 1\n{line}"))
    assert str(refused.value).startswith(f"pipeline_wrapper.py, line 3: {expected}")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("mcp:\n  title: T\n  timeout: soon", "p.yml, line 6: `timeout` must be a number"),
        ("mcp:\n  titel: T", "p.yml, line 5: `titel` is no option; there are title, "),
        ("mcp: [1]", "p.yml, line 4: `mcp` must be a mapping"),
    ],
)
def test_a_yaml_option_that_does_not_fit_is_told_with_its_line(metadata: str, expected: str) -> None:
    with pytest.raises(Broken) as refused:
        options_of(yaml(metadata))
    assert str(refused.value).startswith(expected)


def test_nothing_of_a_wrapper_is_executed(capfd: pytest.CaptureFixture[str]) -> None:
    source = b"print('ran')\nclass PipelineWrapper:\n    title = 'T'\n    print('ran')\n"
    assert options_of({"pipeline_wrapper.py": source}).title == "T"
    assert check_syntax({"pipeline_wrapper.py": source}) is None
    assert "ran" not in capfd.readouterr().out


def test_a_wrapper_wins_over_a_yaml_beside_it() -> None:
    files = {"pipeline_wrapper.py": b"", "p.yml": YAML.encode()}
    assert kind_of(files) == ("wrapper", "pipeline_wrapper.py")


@pytest.mark.parametrize("text", [YAML, '"components": {}', "{components: {}}", "a: 1\ncomponents:\n\t"])
def test_a_yaml_with_top_level_components_is_a_pipeline_even_if_the_rest_is_broken(text: str) -> None:
    files = {"p.yaml": text.encode(), "data.yml": b"a:\n  components: 1\n", "sub/q.yml": YAML.encode()}
    assert kind_of(files) == ("yaml", "p.yaml")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.yml": YAML, "b.yml": YAML}, "holds several pipelines (a.yml, b.yml): keep one in each folder"),
        ({"a.yml": "x: 1"}, "a.yml: has no top-level `components`: it is not a Haystack pipeline"),
        ({"a.txt": ""}, "the folder has neither pipeline_wrapper.py nor a pipeline YAML"),
    ],
)
def test_files_that_are_no_pipeline_are_told_why(files: dict[str, str], message: str) -> None:
    kind = kind_of({path: text.encode() for path, text in files.items()})
    assert isinstance(kind, Problem) and str(kind) == message


@pytest.mark.parametrize(
    ("source", "where"),
    [
        (b"x = 1\ndef f(:\n", "lib/a.py, line 2"),
        (b"x = '\n", "lib/a.py, line 1"),
        (b"\xff", "lib/a.py"),
        (b"x = 1\n\x00", "lib/a.py"),
        (b"-" * 200_000 + b"1", "lib/a.py"),
    ],
)
def test_a_file_that_does_not_parse_is_told_with_its_line(source: bytes, where: str) -> None:
    problem = check_syntax({"lib/a.py": source, "b.py": b"x = 1", "notes.txt": b"def f(:"})
    assert problem is not None and str(problem).startswith(where)


def test_all_hints_are_given_and_follow_what_is_declared() -> None:
    assert hints(options_of(wrapper("read_only = True\nopen_world = False"))) == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": False,
        "openWorldHint": False,
    }
    assert hints(options_of({}))["destructiveHint"]


def test_icons_are_declared_as_mcp_has_them() -> None:
    icons = [{"src": "data:image/svg+xml;base64,PHN2Zy8+", "sizes": ["any"], "theme": "dark"}]
    options = options_of(wrapper(f"icons = {icons}"))
    assert tool_of("a", options, "d", {}, None)["icons"] == icons
    assert tool_of("a", options_of(yaml(f"mcp: {{icons: {icons}}}")), "d", {}, None)["icons"] == icons
    assert "icons" not in tool_of("a", options_of({}), "d", {}, None)


@pytest.mark.parametrize(
    "icons",
    [
        [{"src": "http://example.com/a.png"}],
        [{"src": "javascript:alert(1)"}],
        [{"src": "data:text/html,x"}],
        [{"mimeType": "image/png"}],
        [{"src": "https://a/b.png", "size": "48x48"}],
        ["https://a/b.png"],
        "https://a/b.png",
        [{"src": b"x"}],
    ],
)
def test_an_icon_that_a_client_would_distrust_is_refused(icons: object) -> None:
    with pytest.raises(Broken, match="`icons` must be a list of objects with `src`"):
        options_of(wrapper(f"icons = {icons!r}"))


def test_the_front_stays_light() -> None:
    code = "import sys, mcp_server.pipelines.options; print('haystack' in sys.modules, 'yaml' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.split() == ["False", "False"]

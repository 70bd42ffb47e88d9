"""Names, paths, code and YAML that are sent to do harm: refused, quickly, and nothing is written or run."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server.catalog import Catalog
from mcp_server.engines.routing import RoutingEngine
from mcp_server.errors import Broken, Invalid, ServerError
from mcp_server.pipelines.composed import compose
from mcp_server.pipelines.options import options_of
from mcp_server.settings import Settings

pytestmark = pytest.mark.anyio

WRAPPER = "class PipelineWrapper:\n    def run_api(self) -> int:\n        return 1\n"
PARTS = (
    "..", ".", "", "~", "/", "\\", "C:", "\0", "\n", "\x1b[2J", "%2e%2e", "..%2f", "....//", "a", "b.py",
    ".git", ".env", "__pycache__", "con", "NUL.txt", "aux", "a:b", "a*", "?", "<", "|", '"', "\u202e",
    "\u2066", "\ud800", "e\u0301", "x" * 300, "a ", "a.", " ", "$HOME", "`id`", ";rm -rf ~", "${IFS}",
    "state.db", "sources", "\uff0e\uff0e", "\u2025", "pipeline_wrapper.py", "mcp", "status",
    "deploy_pipeline", "-rf", "--help", "é", "🙂", "\x7f", "\x85",
)  # fmt: skip
JOINTS = ("/", "/", "/", "\\", "//", "", "/./", "/../")


def paths(count: int) -> Iterator[str]:
    """Joined from the parts at random, the same ones each time."""
    dice = random.Random(count)
    for _ in range(count):
        chosen = [dice.choice(PARTS) for _ in range(dice.randint(1, 6))]
        yield "".join(part + dice.choice(JOINTS) for part in chosen)[: dice.choice((5, 40, 400))]


def tree(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if "state.db" not in path.name}


async def test_no_name_and_no_path_writes_outside(tmp_path: Path, long: bool) -> None:
    count = 5000 if long else 500
    (tmp_path / "around" / "pipelines").mkdir(parents=True)
    state = tmp_path / "around" / "state"
    given = Settings(folder=tmp_path / "around" / "pipelines", state=state, engine="local")
    async with RoutingEngine(given) as engine, Catalog(given, engine) as catalog:
        await catalog.ready()
        before = tree(tmp_path) | {state / "sources"}
        kept = 0
        for number, path in enumerate(paths(count)):
            name, file = (path, "more.txt") if number % 2 else ("fine", path)
            try:
                await catalog.deploy(name, {"pipeline_wrapper.py": WRAPPER, file: "x"}, overwrite=True)
            except Invalid:
                continue
            kept += 1
        after = {path for path in tree(tmp_path) - before if not path.is_relative_to(state / "sources")}
        assert after == set()
        assert all(len(path.name) == 64 for path in (state / "sources").iterdir()), "only digests"
        assert kept < count / 4, "nearly all of them are hostile"


SNIPPETS = (
    "open({marker!r}, 'w')",
    "__import__('os').mkdir({marker!r})",
    "exec('open({marker!r}, \"w\")')",
    "import pathlib; pathlib.Path({marker!r}).touch()",
    "class Meta(type):\n    def __new__(*a): open({marker!r}, 'w')\nclass X(metaclass=Meta): pass",
    "@(lambda f: open({marker!r}, 'w'))\ndef f(): pass",
    "def f(x=open({marker!r}, 'w')): pass",
    "[open({marker!r}, 'w') for _ in '1']",
)
FAULTS = (
    "def broken(:",
    "class PipelineWrapper:\n    timeout = open({marker!r}, 'w')",
    "class PipelineWrapper:\n    env = [open({marker!r}, 'w')]",
    "class PipelineWrapper:\n    timeout = -1",
    "x = '\0'",
)


async def test_what_does_not_pass_validation_has_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    given = Settings(state=tmp_path / "state", engine="local")
    async with RoutingEngine(given) as engine, Catalog(given, engine) as catalog:
        await catalog.ready()
        for snippet in SNIPPETS:
            for fault in FAULTS:
                text = f"{snippet}\n{fault}\n".replace("{marker!r}", repr(str(marker)))
                with pytest.raises(ServerError):
                    await catalog.deploy("theirs", {"pipeline_wrapper.py": text}, overwrite=True)
                assert not marker.exists(), text
    assert len(SNIPPETS) * len(FAULTS) == 40


def payloads() -> Iterator[str]:
    """300 texts: bombs of aliases in many shapes, tags, depths, numbers, keys."""
    for levels in range(8, 40):
        for open_, close in (("[", "]"), ("{x: [", "]}"), ("{<<: [", "]}")):
            lines = ["components: {}", "a0: &a0 {x: y}"]
            for level in range(1, levels):
                inside = ",".join([f"*a{level - 1}"] * 9)
                lines.append(f"a{level}: &a{level} {open_}{inside}{close}")
            yield "\n".join(lines)
    tags = (
        "python/object/apply:os.system", "python/object/new:os.system", "python/name:os.system",
        "python/module:os", "python/object:os.PathLike", "python/object/apply:subprocess.Popen",
        "python/object/apply:eval", "python/bytes", "python/complex", "python/none", "java/lang.Runtime",
        "ruby/object:Gem", "omap", "pairs",
    )  # fmt: skip
    for tag in tags:
        for body in ("[ls]", "{a: b}", "ls", "[[ls]]", "{args: [ls]}", "!!str x"):
            yield f"components: {{}}\na: !!{tag} {body}"
    for depth in (101, 150, 200, 500, 1000, 5000, 20_000, 60_000):
        yield from (f"a: {'[' * depth}", f"a: {'[' * depth}{']' * depth}", "{a: " * min(depth, 50_000))
        yield "\n".join(" " * level + "a:" for level in range(min(depth, 600)))
    for digits in (401, 1000, 4000, 10_000, 50_000, 100_000, 200_000):
        yield from (f"a: {'9' * digits}", f"a: 0x{'f' * digits}", f"a: {':'.join(['59'] * digits)}")
        yield f"a: {'9' * digits}.{'9' * digits}"
    for number in range(300):
        yield from (f"a: &x{number} [*x{number}]", f"k{number}: 1\nk{number}: 2", f"a: *unknown{number}")
        yield from (f"a{number}: [", f"- {number}", f"a: {{b: {number}", f"%YAML {number}.9\n---\na: [")


def test_hostile_yaml_is_refused_at_once_and_in_little_memory(long: bool) -> None:
    texts = [text for text, _ in zip(payloads(), range(300), strict=False)]
    assert len(texts) == 300
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = 0.0
    for text in texts if long else texts[::5]:
        begun = time.process_time()
        with pytest.raises(Broken):
            compose(text.encode(), "pipeline.yml")
            options_of({"pipeline.yml": text.encode()})
        slowest = max(slowest, time.process_time() - begun)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"slowest {slowest:.2f} s of computing, {grown / 1e6:.0f} MB more at most")
    assert slowest < 1.0
    assert grown < 50 << 20

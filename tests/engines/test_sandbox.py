"""A sandboxed host: what its pipeline tries to reach outside stays out of reach, and honest work works."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mcp_server.engines.confinement import Abilities, abilities
from mcp_server.models import Manifest, Problem, Walls

from .conftest import Bench, until
from .probes import PROBES
from .test_contract import reason, value

pytestmark = pytest.mark.anyio

WALLS = Walls(sandbox=True, memory=1 << 30, cpu=60, file_size=64 << 20)
RUNS = """
    def run_api(self, code: str, facts: dict[str, str | int]) -> str:
        import ctypes, socket, tempfile
        own = os.path.dirname(__file__)
        libc, answer = ctypes.CDLL(None, use_errno=True), None
        names = {**globals(), **locals(), **facts}
        exec(code, names)
        return str(names["answer"] or "nothing")
"""
"""Runs what it is given: the most hostile of pipelines."""


@pytest.fixture
def walls() -> Walls:
    if missing := abilities().lacking(WALLS):
        pytest.skip(f"NOT TESTED: this system has no {' and no '.join(missing)}")
    return WALLS


@pytest.fixture
async def sandbox(walls: Walls, hosts: Bench) -> AsyncIterator[Bench]:
    """An engine with the pipeline `probe` in a sandbox."""
    outcomes = await hosts.serve(hosts.member("probe", RUNS), walls=walls)
    assert isinstance(outcomes["probe"], Manifest)
    yield hosts


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str | int]]:
    """What the probes look for."""
    folder = tmp_path_factory.mktemp("outside")
    secret = folder / "secret.txt"
    secret.write_text("secret")
    secret.chmod(0o600)
    shared = Path(f"/dev/shm/probe-{os.getpid()}")
    shared.write_text("secret")
    with ExitStack() as stack:
        stack.callback(shared.unlink)
        victim = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", "import sys; sys.stdin.read()"],
                stdin=subprocess.PIPE,
                env={"KEY": "secret"},
            )
        )
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        named, abstract = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        for unix, address in ((named, str(folder / "socket")), (abstract, f"\0probe-{os.getpid()}")):
            unix.bind(address)
            unix.listen()
        yield {
            "victim": victim.pid,
            "secret": str(secret),
            "folder": str(folder),
            "port": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "path": str(folder / "socket"),
            "abstract": f"\0probe-{os.getpid()}",
            "shared": str(shared),
        }


async def test_no_probe_gets_out(sandbox: Bench, outside: dict[str, str | int]) -> None:
    secret = Path(str(outside["secret"]))
    before = secret.stat().st_ctime_ns, secret.stat().st_mode
    through: dict[str, object] = {}
    for name, code in PROBES.items():
        result = await sandbox.call("probe", code=code, facts=outside, timeout=20)
        if not result.is_error and value(result) != "nothing":
            through[name] = value(result)
    assert through == {}
    assert (secret.read_text(), secret.stat().st_ctime_ns, secret.stat().st_mode) == ("secret", *before)
    assert sorted(each.name for each in secret.parent.iterdir()) == ["secret.txt", "socket"]


async def test_the_same_probes_get_out_of_a_plain_process(
    hosts: Bench, outside: dict[str, str | int]
) -> None:
    await hosts.serve(hosts.member("probe", RUNS))
    for name in ("read a file outside", "connect", "connect to a unix socket", "signal it", "fork"):
        result = await hosts.call("probe", code=PROBES[name], facts=outside)
        assert not result.is_error and value(result) != "nothing", name


async def test_an_honest_pipeline_works_in_a_sandbox(sandbox: Bench) -> None:
    honest = """
import asyncio, shutil, sqlite3, threading
import haystack, numpy
from haystack import Document, Pipeline
from haystack.components.builders import PromptBuilder
open(own + "/data.txt", "w").write("its own")
shutil.copy(own + "/data.txt", own + "/copy.txt")
with tempfile.TemporaryDirectory() as place:
    with sqlite3.connect(place + "/notes.db") as notes:
        notes.execute("CREATE TABLE notes (text)")
pipeline = Pipeline()
pipeline.add_component("prompt", PromptBuilder("Hello {{ name }}"))
greeting = pipeline.run({"prompt": {"name": "Ada"}})["prompt"]["prompt"]
thread = threading.Thread(target=lambda: asyncio.run(asyncio.sleep(0)))
thread.start()
thread.join()
answer = f"{greeting} {open(own + '/copy.txt').read()} {numpy.ones((300, 300)).sum():.0f}"
"""
    assert value(await sandbox.call("probe", code=honest, facts={})) == "Hello Ada its own 90000"


async def test_it_reaches_the_listed_port_and_no_other(walls: Walls, hosts: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listed, socket.create_server(("127.0.0.1", 0)) as other:
        port, foreign = listed.getsockname()[1], other.getsockname()[1]
        open_to = walls.model_copy(update={"net": (str(port),)})
        if missing := abilities().lacking(open_to):
            pytest.skip(f"NOT TESTED: this system has no {missing}")
        await hosts.serve(hosts.member("probe", RUNS), walls=open_to)
        reach = "socket.create_connection(('127.0.0.1', port), 5); answer = 'connected'"
        assert value(await hosts.call("probe", code=reach, facts={"port": port})) == "connected"
        refused = await hosts.call("probe", code=reach, facts={"port": foreign})
        assert reason(refused).endswith(
            f"reaches only port {port}: --allow-net PORT (allow_net) allows more."
        )
        datagram = "socket.socket(2, socket.SOCK_DGRAM); answer = 'opened'"
        assert (await hosts.call("probe", code=datagram, facts={})).is_error


async def test_it_sees_the_listed_variables_and_finds_no_other(
    walls: Walls, hosts: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LISTED", "HIDDEN", "HAYSTACK_SECRET"):
        monkeypatch.setenv(name, f"{name.lower()}-value")
    await hosts.serve(hosts.member("probe", RUNS), env=("LISTED",), walls=walls)
    look = "answer = dict(os.environ), open('/proc/self/environ').read()"
    seen = str(value(await hosts.call("probe", code=look, facts={})))
    assert seen.count("listed-value") == 2
    assert "hidden-value" not in seen and "haystack_secret-value" not in seen
    missing = await hosts.call("probe", code="os.environ['HIDDEN']", facts={})
    assert "--allow-env" in reason(missing)


async def test_it_reads_the_files_it_is_given_and_cannot_look_for_others(
    walls: Walls, hosts: Bench, tmp_path: Path
) -> None:
    given = tmp_path / "state" / "uploads"
    await hosts.serve(hosts.member("probe", RUNS), walls=walls.model_copy(update={"given": (given,)}))
    (given / "f00d").mkdir()
    (given / "f00d" / "file.txt").write_text("sent along")
    facts = {"given": str(given)}
    read = await hosts.call("probe", code="answer = open(given + '/f00d/file.txt').read()", facts=facts)
    assert value(read) == "sent along"
    for attempt in (
        "os.listdir(given)",
        "os.listdir(given + '/f00d')",
        "open(given + '/f00d/file.txt', 'a')",
    ):
        assert (await hosts.call("probe", code=attempt, facts=facts)).is_error


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("socket.create_connection(('127.0.0.1', 9))", "--allow-net"),
        ("socket.getaddrinfo('example.com', 443)", "--allow-net"),
        ("import httpx; httpx.get('http://127.0.0.1:9', trust_env=False)", "--allow-net"),
        ("open('/etc/shadow')", "--allow-read"),
        ("import subprocess; subprocess.run(['true'])", "--isolation"),
        ("kept = bytearray(10 << 30)", "--memory-limit"),
        ("from haystack.utils import Secret; Secret.from_env_var('GONE').resolve_value()", "--allow-env"),
    ],
)
async def test_what_is_refused_names_the_flag_that_allows_it(sandbox: Bench, code: str, flag: str) -> None:
    assert flag in reason(await sandbox.call("probe", code=code, facts={}))


async def test_what_it_prints_is_logged_up_to_a_bound_and_the_log_is_not_in_its_hands(
    walls: Walls, hosts: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    await hosts.serve(hosts.member("probe", RUNS), walls=walls)
    said = "print('it says', 'so'); answer = os.readlink('/proc/self/fd/1'), os.readlink('/proc/self/fd/2')"
    assert str(value(await hosts.call("probe", code=said, facts={}))).count("pipe:") == 2
    flood = "for _ in range(400): os.write(1, b'x' * 65536)"
    await hosts.call("probe", code=flood, facts={})
    await hosts.serve(hosts.member("probe", RUNS), walls=walls)
    printed = capfd.readouterr()
    assert "it says so" in printed.err
    assert printed.err.count("x") < 5 << 20


async def test_a_call_that_computes_too_long_is_ended(walls: Walls, hosts: Bench) -> None:
    await hosts.serve(hosts.member("probe", RUNS), walls=walls.model_copy(update={"cpu": 1.0}))
    ended = await hosts.call("probe", code="while True: pass", facts={}, timeout=60)
    assert "computed for more than 1 s, see --cpu-limit" in reason(ended)
    assert value(await hosts.call("probe", code="answer = 'again'", facts={})) == "again"


async def test_a_pipeline_that_computes_without_a_call_is_given_up(walls: Walls, hosts: Bench) -> None:
    miner = """
        def setup(self):
            import threading
            def mine():
                while True: pass
            threading.Thread(target=mine, daemon=True).start()
        def run_api(self) -> int:
            return 1
    """
    await hosts.serve(hosts.member("miner", miner), walls=walls.model_copy(update={"cpu": 0.2}))
    await until(lambda: isinstance(hosts.reports[-1][1], Problem), 90)
    assert "died 3 times within a minute (it computed for more than 0.2 s" in str(hosts.reports[-1][1])


async def test_temporary_files_go_with_the_host(sandbox: Bench) -> None:
    write = "f = tempfile.NamedTemporaryFile(delete=False); answer = os.path.dirname(f.name)"
    place = Path(str(value(await sandbox.call("probe", code=write, facts={}))))
    assert place.is_dir()
    await sandbox.engine.__aexit__()
    await until(lambda: not place.exists())


async def test_an_uploaded_pipeline_writes_its_own_folder_and_temporary_files_only(
    hosts: Bench, outside: dict[str, str | int]
) -> None:
    if not abilities().landlock:
        pytest.skip("NOT TESTED: this system has no Landlock")
    await hosts.serve(hosts.member("probe", RUNS), walls=Walls())
    for code in ("open(own + '/x', 'w')", "tempfile.NamedTemporaryFile()", "open('/dev/null', 'w')"):
        assert not (await hosts.call("probe", code=code, facts={})).is_error
    home = Path.home() / ".probe"
    refused = await hosts.call("probe", code=f"open({str(home)!r}, 'w')", facts={})
    assert "--allow-write" in reason(refused) and not home.exists()
    reached = await hosts.call("probe", code=PROBES["connect"], facts=outside)
    assert value(reached) == "connected"


def test_what_a_system_lacks_is_told() -> None:
    ported = WALLS.model_copy(update={"net": ("443",)})
    assert Abilities(landlock=4, filters=True).lacking(ported) == ()
    assert Abilities(landlock=3, filters=True).lacking(ported) == ("limits on ports (Landlock 4, Linux 6.7)",)
    assert Abilities(landlock=3, filters=True).lacking(WALLS) == ()
    assert Abilities().lacking(WALLS) == ("limits on files (Landlock)", "filters for system calls (seccomp)")
    assert Abilities().lacking(Walls()) == ("limits on what it writes (Landlock)",)

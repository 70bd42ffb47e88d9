"""A disk that is full, broken or read-only: each change is refused in clear words, what was there goes on."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .lives import LIMIT, Life, Lives, Refused
from .picture import ARTICLE, adder, check_sound, picture, settled

WRITES = "pwrite64,fsync,fdatasync,ftruncate"


@contextmanager
def refusing(life: Life, state: Path, error: str) -> Iterator[None]:
    """Whatever the server writes to its database, or makes in its folder, ends with this error."""
    if shutil.which("strace") is None:
        pytest.skip("NOT TESTED: install strace (Debian: apt-get install strace)")
    paths = [option for name in ("state.db", "state.db-wal") for option in ("-P", str(state / name))]
    quiet = ("-o", "/dev/null")  # a pipe that nobody reads fills up, and then all stand still
    command = ["strace", "-f", *quiet, "-p", str(life.pid), *paths, "-e", f"inject={WRITES}:error={error}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        if "attached" not in tracer.stderr.readline():
            pytest.skip("NOT TESTED: no process may be traced here")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=LIMIT)


@contextmanager
def without_descriptors(life: Life, state: Path, error: str) -> Iterator[None]:
    """The server may open no further file."""
    before = resource.prlimit(life.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(life.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(life.pid, resource.RLIMIT_NOFILE, before)


def changes(life: Life, run: str) -> tuple[Callable[[], Any], ...]:
    """One of each kind."""
    return (
        lambda: life.tool("deploy_pipeline", name="fresh", files=adder(7)),
        lambda: life.tool("deploy_pipeline", name="adder", files=adder(3), overwrite=True),
        lambda: life.tool("undeploy_pipeline", pipeline_name="adder"),
        lambda: life.tool("set_stage", name="adder", version="1", stage="production"),
        lambda: life.tool("start_run", name="adder", arguments={"number": 1}),
        lambda: life.tool("execute_step", run_id=run),
        lambda: life.tool("fork_run", run_id=run),
    )


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS", "EDQUOT"])
def test_a_disk_that_refuses_changes_nothing_and_is_told(lives: Lives, tmp_path: Path, error: str) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    folder.mkdir()
    (folder / "article.yml").write_text(ARTICLE)
    life = lives.begin(folder, state)
    for adds in (1, 2):
        life.tool("deploy_pipeline", name="adder", files=adder(adds), overwrite=True)
    body = {"pipeline_path": "article", "user_inputs": {"topic": "tea"}}
    run = life.http.post("/pipeline/start", json=body).json()["pipeline_run_id"]
    before = picture(life, {run})
    with refusing(life, state, error):
        for change in changes(life, run):
            with pytest.raises(Refused, match=r"cannot be (used|written) now") as refused:
                change()
            assert str(tmp_path) not in str(refused.value)
        assert life.run("adder", number=1) == 3
        told = life.status()["history"]
        assert told["error"] and str(tmp_path) not in told["error"]
    assert life.tool("fork_run", run_id=run)
    assert life.tool("cancel_run", run_id=run)
    assert life.tool("deploy_pipeline", name="fresh", files=adder(7))
    until = time.monotonic() + LIMIT
    while (life.status().get("history") or {}).get("error"):
        assert time.monotonic() < until
        time.sleep(0.05)
    life.kill()
    check_sound(state)
    life = lives.begin(folder, state)
    settled(life)
    assert (life.run("adder", number=1), life.run("fresh", number=1)) == (3, 8)
    after = picture(life, {run})
    assert after["pipelines"]["adder"] == before["pipelines"]["adder"]
    life.kill()


def test_a_server_that_may_open_no_more_files_refuses_what_needs_them(lives: Lives, tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    folder.mkdir()
    (folder / "article.yml").write_text(ARTICLE)
    life = lives.begin(folder, state)
    life.tool("deploy_pipeline", name="adder", files=adder(1))
    soft, hard = resource.prlimit(life.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(life.pid, resource.RLIMIT_NOFILE, (3, hard))
    with pytest.raises(Refused, match="cannot be saved: too many open files") as refused:
        life.tool("deploy_pipeline", name="fresh", files=adder(7))
    assert str(tmp_path) not in str(refused.value)
    assert life.run("adder", number=1) == 2
    resource.prlimit(life.pid, resource.RLIMIT_NOFILE, (soft, hard))
    life.tool("deploy_pipeline", name="fresh", files=adder(7))
    assert life.run("fresh", number=1) == 8
    life.kill()

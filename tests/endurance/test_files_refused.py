"""The disk refuses while sources and artifacts are written: clear words, and what was there goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest

from .lives import LIMIT, Life, Lives, Refused
from .picture import adder, check_sound, settled

CALLS = "mkdir,mkdirat,openat,rename,renameat,renameat2,link,linkat,fsync,fdatasync,ftruncate,pwrite64"
"""What writes files and makes them; no call that sends to a client."""
ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EMFILE")
FAULTS = (10, 200)
"""Of the short form, and of the long one."""
LARGE = '''from mcp_server import Context, PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, size: int, context: Context) -> str:
        """Leaves a large file."""
        return context.artifact("large.bin", bytes(size))
'''
WORDS = r"(disk|space|saved|written|used|read-only|input/output|too many|quota|read|stored)"


@contextmanager
def failing(life: Life, error: str, when: int) -> Iterator[None]:
    """In each thread of the server, the call number `when` that has to do with files fails, and the next."""
    if shutil.which("strace") is None:
        pytest.skip("NOT TESTED: install strace (Debian: apt-get install strace)")
    rule = f"inject={CALLS}:error={error}:when={when}..{when + 1}"
    quiet = ("-o", "/dev/null")  # a pipe that nobody reads fills up, and then all stand still
    command = ["strace", "-f", *quiet, "-p", str(life.pid), "-e", rule]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        if "attached" not in tracer.stderr.readline():
            pytest.skip("NOT TESTED: no process may be traced here")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=LIMIT)


def test_a_change_is_made_or_refused_wherever_the_disk_fails(
    lives: Lives, tmp_path: Path, long: bool
) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    (folder / "large").mkdir(parents=True)
    (folder / "large" / "pipeline_wrapper.py").write_text(LARGE)
    life = lives.begin(folder, state)
    life.tool("deploy_pipeline", name="adder", files=adder(1))
    adds, refused, lost = 1, 0, 0
    faults = [(error, when) for when in range(1, 200) for error in ERRORS]
    for number, (error, when) in enumerate(islice(cycle(faults), FAULTS[long])):
        with failing(life, error, 1 + when % 12):
            try:
                life.tool("deploy_pipeline", name="adder", files=adder(number + 2), overwrite=True)
                adds = number + 2
            except Refused as refusal:
                refused += 1
                assert str(tmp_path) not in str(refusal) and "Traceback" not in str(refusal)
            try:
                life.called(
                    "run_pipeline", {"name": "large", "arguments": {"size": 400_000}}, key=f"k{number}"
                )
            except Refused as refusal:
                lost += 1
                assert str(tmp_path) not in str(refusal) and "Traceback" not in str(refusal)
        assert life.run("adder", number=0) == adds, "what was acknowledged last serves"
    print(f"{FAULTS[long]} faults, {refused} deploys and {lost} runs refused")
    adds = 1000
    life.tool("deploy_pipeline", name="adder", files=adder(adds), overwrite=True)
    life.kill()
    check_sound(state)
    life = lives.begin(folder, state)
    settled(life)
    assert life.run("adder", number=0) == adds
    life.kill()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own with 3 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = os.getuid() == 0 and shutil.which("mount") is not None
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if not mounted or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: no file system may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_full_disk_the_old_version_serves_and_the_refusal_says_why(
    lives: Lives, tmp_path: Path, small: Path
) -> None:
    (tmp_path / "pipelines").mkdir()
    life = lives.begin(tmp_path / "pipelines", small / "state")
    life.tool("deploy_pipeline", name="adder", files=adder(1))
    large = adder(2) | {f"data{place}.txt": "x" * 1_000_000 for place in range(4)}
    for _ in range(2):
        with pytest.raises(Refused, match="space") as refused:
            life.tool("deploy_pipeline", name="adder", files=large, overwrite=True)
        assert str(small) not in str(refused.value)
        assert life.run("adder", number=0) == 1
    life.tool("deploy_pipeline", name="adder", files=adder(3), overwrite=True)
    assert life.run("adder", number=0) == 3, "what was left half-written makes room"
    life.kill()
    check_sound(small / "state")


def test_a_server_whose_state_is_read_only_does_not_start_and_says_what_to_do(
    lives: Lives, tmp_path: Path, small: Path
) -> None:
    (tmp_path / "pipelines").mkdir()
    life = lives.begin(tmp_path / "pipelines", small / "state")
    life.tool("deploy_pipeline", name="adder", files=adder(1))
    life.stop()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(AssertionError, match=r"cannot keep files in .*; choose another place with --state"):
        lives.begin(tmp_path / "pipelines", small / "state")
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    life = lives.begin(tmp_path / "pipelines", small / "state")
    settled(life)
    assert life.run("adder", number=0) == 1
    life.kill()

"""A backup of a state that is being written to, and what can be started from it."""

from __future__ import annotations

import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import anyio
import pytest

from mcp_server.errors import Unusable
from mcp_server.models import Artifact, Options, Result, Run
from mcp_server.store import Draft, Filter, Store
from mcp_server.store.backup import backup
from mcp_server.store.changes import new_id
from mcp_server.store.history import History

pytestmark = pytest.mark.anyio


def ended() -> Run:
    """A run that left a large artifact."""
    artifact = Artifact(name="a", mime_type="image/png", content=new_id().encode() * 10_000)
    result = Result(content=b"[]", artifacts=(artifact,))
    return Run(
        id=new_id(),
        pipeline="p",
        version=1,
        digest="d",
        inputs={},
        timeout=1.0,
        status="done",
        result=result,
        finished=time.time(),
    )


async def test_what_was_acknowledged_before_is_in_the_backup_of_a_busy_state(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "backup.tgz"
    before: list[Run] = []
    with anyio.fail_after(30):
        async with History(state / "state.db") as history, anyio.create_task_group() as tasks:

            async def write() -> None:
                while True:
                    made = ended()
                    await history.commit(made)
                    before.append(made)

            tasks.start_soon(write)
            while len(before) < 5:
                await anyio.sleep(0.01)
            acknowledged = [*before]
            await anyio.to_thread.run_sync(backup, state, state / "state.db", file)
            tasks.cancel_scope.cancel()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert {path.name for path in tmp_path.iterdir()} == {"state", "backup.tgz"}
        with tarfile.open(file) as archive:
            archive.extractall(tmp_path / "again", filter="data")
        async with History(tmp_path / "again" / "state.db") as history:
            listed = {run.id for run in (await history.listed(Filter(), 1000)).runs}
            assert {run.id for run in acknowledged} <= listed
            for run in acknowledged:
                assert await history.artifact(run.id, "a") is not None


async def test_the_command_backs_up_and_refuses_in_one_line(tmp_path: Path) -> None:
    folder, state, file = tmp_path / "pipelines", tmp_path / "state", tmp_path / "backup.tgz"
    folder.mkdir()
    command = [sys.executable, "-m", "mcp_server", "backup", str(file), str(folder), "--state", str(state)]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "no state to back up" in refused.stderr
    store = Store(state / "state.db")
    await store.open()
    await store.deploy(Draft("p", "d", Options(), "someone"), upload=True)
    made = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stderr) == (0, "")
    await store.close()
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (again.returncode, "exists" in again.stderr) == (2, True)


def test_of_a_database_server_it_says_how(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="pg_dump"):
        backup(tmp_path, "postgresql+psycopg://x/y", tmp_path / "file")

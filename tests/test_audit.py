"""The audit log: whole whoever writes, one line for each event whatever is in it, and every change found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, delete, text, update

from mcp_server.errors import Conflict
from mcp_server.models import Caller
from mcp_server.store import audit_rows
from mcp_server.store.audit import Audit, AuditEvent, Verdict
from mcp_server.store.file import connect
from mcp_server.store.history import History
from mcp_server.store.run_tables import audit

pytestmark = pytest.mark.anyio
LIMIT = 60.0
ADA = Caller(name="ada", origin="rest", peer="127.0.0.1")
HOSTILE = (
    *("\n", "\r\n", "\x00", "\x1b[2J", "\u202e", "\u200b", "\u2028", "\ud800", "\x7f", "\x9b31m", '"}', "{}"),
    *("%s%n", "\\u000a", "'; DROP TABLE audit; --", "\t", "<script>", "😀", "\ufeff", "a" * 10_000),
)


@pytest.fixture(params=["file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if request.param == "postgresql":
        return request.getfixturevalue("cluster").database()
    return tmp_path / "state.db"


@pytest.fixture
async def history(place: Path | str) -> AsyncIterator[History]:
    with anyio.fail_after(LIMIT):
        async with History(place) as opened:
            yield opened


def verified(place: Path | str, expected: str | None = None) -> Verdict:
    return audit_rows.look(place, partial(audit_rows.verified, expected=expected))


def hostile(count: int) -> list[str]:
    """Texts that forge lines, move what is shown, or break what reads them."""
    chance = random.Random(7)
    return ["".join(chance.choices(HOSTILE, k=chance.randint(1, 4))) + str(number) for number in range(count)]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mcp_server", "audit", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


async def test_a_thousand_hostile_values_are_a_thousand_lines_and_the_chain_holds(tmp_path: Path) -> None:
    async with History(tmp_path / "state.db") as history:
        log, values = Audit(history), hostile(1000)
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                for value in values:
                    caller = Caller(name=value, origin="mcp", peer=value)
                    tasks.start_soon(
                        log.note, AuditEvent(value, caller.name, "mcp", value, value, outcome=value)
                    )
        assert log.lost == 0
    told = run("list", str(tmp_path), "--state", str(tmp_path), "--limit", "5000")
    heading, *lines = told.stdout.splitlines()
    assert len(lines) == 1000 and heading.startswith("NUMBER")
    assert all(line.isprintable() for line in lines)
    whole = run("verify", str(tmp_path), "--state", str(tmp_path))
    assert (whole.returncode, whole.stdout.split()[0]) == (0, "1000"), whole.stderr


async def test_servers_on_one_store_write_one_chain(place: Path | str) -> None:
    with anyio.fail_after(LIMIT):
        async with History(place) as one, History(place) as other, anyio.create_task_group() as tasks:
            for number in range(50):
                for history in (one, other):
                    event = AuditEvent("deploy_pipeline", subject=str(number))
                    tasks.start_soon(Audit(history).note, event)
    found = verified(place)
    assert (found.records, found.fault) == (100, None)
    assert verified(place, found.head).fault is None
    assert "written anew" in (verified(place, "f" * 64).fault or "")


def tampers(connection: Connection, how: str) -> None:
    """What somebody with the database may do to hide something."""
    match how:
        case "change":
            connection.execute(update(audit).where(audit.c.number == 3).values(outcome="done", caller="bob"))
        case "first":
            connection.execute(delete(audit).where(audit.c.number == 1))
        case "middle":
            connection.execute(delete(audit).where(audit.c.number == 3))
        case "last":
            connection.execute(delete(audit).where(audit.c.number == 5))
        case "swap":
            for old, new in ((2, 99), (3, 2), (99, 3)):
                connection.execute(update(audit).where(audit.c.number == old).values(number=new))
        case "renumber":
            connection.execute(delete(audit).where(audit.c.number == 2))
            connection.execute(text("UPDATE audit SET number = number - 1 WHERE number > 2"))
        case "insert":
            connection.execute(
                text(
                    "INSERT INTO audit SELECT 6, time, action, caller, origin, peer, subject, "
                    "version, digest, outcome, hash FROM audit WHERE number = 5"
                )
            )
        case _:
            connection.execute(delete(audit))


@pytest.mark.parametrize("how", ["change", "first", "middle", "last", "swap", "renumber", "insert", "all"])
async def test_whatever_is_changed_or_taken_away_is_found(how: str, tmp_path: Path) -> None:
    place = tmp_path / "state.db"
    async with History(place) as history:
        for number in range(5):
            await Audit(history).note(AuditEvent("set_stage", "ada", subject=str(number), outcome="conflict"))
    assert verified(place).fault is None
    engine = connect(place)
    with engine.begin() as connection:
        tampers(connection, how)
    engine.dispose()
    assert verified(place).fault is not None
    told = run("verify", str(tmp_path), "--state", str(tmp_path), "--json")
    assert told.returncode == 1 and json.loads(told.stdout)["whole"] is False
    assert "not whole" in told.stderr


async def test_what_is_done_is_noted_with_its_outcome_and_never_with_a_reason(history: History) -> None:
    log = Audit(history)
    async with log.noting("deploy_pipeline", ADA, "shout") as noting:
        noting.version, noting.digest = 2, "abc"
    with pytest.raises(Conflict):
        async with log.noting("deploy_pipeline", ADA, "shout"):
            raise Conflict("there is one, and here is a secret")
    with pytest.raises(ZeroDivisionError):
        async with log.noting("set_stage", ADA, "shout"):
            raise ZeroDivisionError("secret")
    failed, refused, done = (each.event for each in await log.listed(10))
    assert done == AuditEvent("deploy_pipeline", "ada", "rest", "127.0.0.1", "shout", 2, "abc", "done")
    assert (refused.outcome, failed.outcome) == ("conflict", "failed")
    assert "secret" not in repr((failed, refused, done))


async def test_guessing_fills_no_disk(history: History) -> None:
    log = Audit(history)
    for number in range(10_000):
        log.denied(AuditEvent("login", peer=f"10.0.0.{number % 4}", outcome="denied"))
    assert len(await log.listed(1000)) == 4 * log.TIMES


async def test_a_tool_whose_definition_changed_is_noted_once_by_however_many_servers(
    history: History,
) -> None:
    one, other = Audit(history), Audit(history)
    one.changed({"greet": "a", "shout": "b"})
    other.changed({"greet": "a", "shout": "b"})
    other.changed({"greet": "c"})
    one.changed({"greet": "c", "shout": "b"})
    noted = [(each.event.subject, each.event.digest) for each in reversed(await one.listed(10))]
    assert noted == [("greet", "a"), ("shout", "b"), ("greet", "c")]

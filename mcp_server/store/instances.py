"""The servers on a store, and which of them are gone: a file that a live server holds locked, or a lease."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, text, update

from ..models import CALLS
from . import INTERRUPTED
from .changes import counted
from .counting import add
from .file import is_postgresql
from .run_tables import instances, runs

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LEASE = 60.0
"""Seconds a server on PostgreSQL may be silent before its runs are given up."""

ATTEMPTS = 4
"""How often a run is begun at most: one that kills its server must not do so for ever."""
LOST = runs.c.finished.is_(None) & (runs.c.instance != "") & runs.c.instance.not_in(select(instances.c.id))
"""What no server owns that is there. A step-wise run that waits for its next move is nobody's, with an empty
instance."""
CONTINUABLE = runs.c.continues & runs.c.status.in_(("running", "waiting")) & (runs.c.attempt < ATTEMPTS)


class Instance:
    """This server's row and lock. The lock ends with the process, however it ends. Blocking."""

    def __init__(self, identity: str, folder: Path | None) -> None:
        """`folder` is where servers on the same file lock theirs; None where leases are kept instead."""
        self.id = identity
        self._folder = folder
        self._held: int | None = None

    def hold(self) -> None:
        """Take the lock. Raises `OSError`."""
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = os.open(self._file(self.id), os.O_RDWR | os.O_CREAT, 0o600)
            if not locked(self._held):
                raise BlockingIOError("the lock of a new instance is taken")

    def leave(self, connection: Connection) -> None:
        """The server ends in order; what it could not end is given up."""
        connection.execute(delete(instances).where(instances.c.id == self.id))
        self._give_up(connection, ~CONTINUABLE)

    def let_go(self) -> None:
        """Let go of the lock."""
        if self._held is not None:
            os.close(self._held)
            self._file(self.id).unlink(missing_ok=True)
            self._held = None

    def register(self, connection: Connection) -> None:
        """Tell the others, before anything is written in its name."""
        lease = _clock(connection) + LEASE if self._leases(connection) else None
        row = {"id": self.id, "host": platform.node(), "process": os.getpid(), "started": time.time()}
        connection.execute(insert(instances).values(row | {"lease": lease}))

    def renew(self, connection: Connection) -> None:
        """Say that it lives; without leases the lock says it."""
        if self._leases(connection):
            lease = _clock(connection) + LEASE
            renewed = update(instances).where(instances.c.id == self.id).values(lease=lease)
            if not connection.execute(renewed).rowcount:
                self.register(connection)  # it was silent for so long that others gave it up

    def recover(self, connection: Connection) -> tuple[str, ...]:
        """Take over what servers that are gone left: gives the runs that are to go on here.

        The others are marked failed, so that nobody waits for them.
        """
        now = _clock(connection)
        known = connection.execute(select(instances.c.id, instances.c.lease)).all()
        for identity, lease in known:
            if identity != self.id and self._is_gone(identity, lease, now):
                connection.execute(delete(instances).where(instances.c.id == identity))
                if self._folder is not None:
                    self._file(identity).unlink(missing_ok=True)
        claimed = self._claim() | {"status": "running", "question": None}  # what it asked, it asks again
        taken = update(runs).where(LOST, CONTINUABLE).values(claimed).returning(runs.c.id)
        going_on = tuple(connection.scalars(taken))
        self._give_up(connection, LOST)
        return going_on

    def _claim(self) -> dict[str, Any]:
        """Whoever had the run may not write it any more, should it live."""
        return {"instance": self.id, "attempt": runs.c.attempt + 1}

    def _give_up(self, connection: Connection, chosen: ColumnElement[bool]) -> None:
        lost = (LOST, chosen)
        left = connection.execute(
            select(runs.c.pipeline, runs.c.version, runs.c.started, runs.c.verb).where(*lost)
        ).all()
        if not left:
            return
        ended = {"status": "failed", "error": INTERRUPTED, "finished": time.time()}
        connection.execute(update(runs).where(*lost).values(self._claim() | ended))
        calls = [row for row in left if row.verb in CALLS]
        add(
            connection,
            [counted(row.pipeline, row.version, row.started, row.started, failed=True) for row in calls],
        )

    def _is_gone(self, identity: str, lease: float | None, now: float) -> bool:
        if lease is not None:
            return lease < now
        return self._folder is not None and not is_held(self._file(identity))

    def _leases(self, connection: Connection) -> bool:
        return is_postgresql(connection)

    def _file(self, identity: str) -> Path:
        assert self._folder is not None, "only with files"
        return self._folder / f"{identity}.lock"


def _clock(connection: Connection) -> float:
    """The database's time, which all servers share."""
    if is_postgresql(connection):
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    return time.time()


def is_held(path: Path) -> bool:
    """True if a live process has the file locked, or may have."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:  # another user has it, or this process has too many files open: nothing is known
        return True
    try:
        return not locked(descriptor)
    finally:
        os.close(descriptor)


def locked(descriptor: int) -> bool:
    """Lock the open file; false if another process has it."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

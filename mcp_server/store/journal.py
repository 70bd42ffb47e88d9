"""The database of history, opened: commits of its one writer, and answers to many readers. Blocking."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, OperationalError

from ..errors import Outdated, ServerError, Unavailable, Unusable
from ..models import Artifact, Run, StepDone
from . import Bound, Filter, Kind, Page, Place, Statistics, parking, queries, step_queries
from .blobs import Blobs
from .changes import RunChange
from .counting import statistics
from .errand_rows import forget
from .file import connect, explain, prepare, upsert
from .instances import Instance
from .plain_rows import Plains
from .retention import remove, surplus
from .rows import write_plain, write_runs
from .tables import secrets
from .writer import Asked

T = TypeVar("T")
log = logging.getLogger(__name__)


class Journal:
    """Opens, or does without: with a `fault` it is in memory. Never raises when made.

    Methods that take a connection are changes, to be committed; the others read.
    """

    def __init__(self, place: Place, identity: str) -> None:
        folder = place.parent if isinstance(place, Path) else None
        self._instance = Instance(identity, folder and folder / "instances")
        self._blobs = Blobs(folder and folder / "artifacts")
        self._gate: AbstractContextManager[object] = nullcontext()
        self._taken: tuple[str, ...] = ()
        self.fault: str | None = None
        """Why nothing lasts; None when all is well."""
        self.outdated = False
        """True if that is because a newer release wrote the state."""
        try:
            self._open(place)
        except Unusable as error:
            self.fault, self.outdated = str(error), isinstance(error, Outdated)
        except Exception as error:  # of whatever a driver or a migration raises, those who wait must hear
            log.error("History cannot be opened", exc_info=error)
            self.fault = "The state cannot be opened."
        if self.fault or place is None:
            self._gate, self._blobs = threading.Lock(), Blobs(None)
            self._instance = Instance(identity, None)
            self._open(None)

    def _open(self, place: Place) -> None:
        engine = connect(place)
        self._reading, self._writing = engine, engine.execution_options(immediate=True)
        try:
            prepare(engine, place)
            self._instance.hold()
            with self._writing.begin() as connection:
                self._instance.register(connection)
                self._taken = self._instance.recover(connection)
        except BaseException:
            engine.dispose()
            raise

    def close(self) -> None:
        """Let go of the database; the others hear that this server ended."""
        with suppress(DBAPIError), self._gate, self._writing.begin() as connection:
            self._instance.leave(connection)
        self._instance.let_go()
        self._reading.dispose()

    def commit(self, asked: Sequence[Asked]) -> Exception | None:
        """Apply all of them in one transaction. Gives why the database failed, if it did."""
        try:
            with self._gate, self._writing.begin() as connection:
                self._apply(connection, asked)
        except Exception as error:  # whatever a driver raises, the writer must go on for the others
            if not isinstance(error, OperationalError) and (parts := apart(asked)):
                failed = [self.commit([each]) for each in parts]  # one of them is at fault: find it
                if len(asked) == 1:
                    asked[0].missed = sum(each.missed for each in parts)
                return failed[-1] if all(failed) else None
            for each in asked:
                each.error = refusal(error)
                each.missed = len(each.change) if isinstance(each.change, Plains) else 1
            return error
        return None

    def _apply(self, connection: Connection, asked: Sequence[Asked]) -> None:
        """In order; runs that follow each other go together."""
        together: list[RunChange] = []
        for each in asked:
            each.error = None
            if isinstance(each.change, RunChange) and not each.change.left:
                together.append(each.change)
                continue
            write_runs(connection, together)
            together = []
            if isinstance(each.change, Plains):
                write_plain(connection, each.change)
                continue
            try:
                with connection.begin_nested():
                    each.value = self._do(connection, each.change)
            except ServerError as error:
                each.error, each.missed = error, 1
        write_runs(connection, together)

    def _do(self, connection: Connection, change: RunChange | Callable[[Journal, Connection], T]) -> T | None:
        if not isinstance(change, RunChange):
            return change(self, connection)
        write_runs(connection, [change])
        if change.row is not None:
            self._blobs.keep(connection, change.row.id, change.left)
        return None

    def claim(self, connection: Connection, run: Run, change: RunChange) -> Run | None:
        """See `queries.claim`."""
        return queries.claim(connection, run, change)

    def park(self, connection: Connection, change: RunChange) -> None:
        """See `parking.park`."""
        parking.park(connection, change)

    def look_after(self, connection: Connection) -> tuple[str, ...]:
        """Say that this server lives. Gives the runs that it goes on with; see `Instance.recover`."""
        self._instance.renew(connection)
        taken, self._taken = self._taken, ()
        taken += self._instance.recover(connection)
        forget(connection)
        return taken

    def secret(self, connection: Connection, name: str, fresh: bytes) -> bytes:
        """See `History.secret`."""
        new = upsert(connection, secrets).values(name=name, value=fresh)
        connection.execute(new.on_conflict_do_nothing())
        return bytes(connection.scalar(select(secrets.c.value).where(secrets.c.name == name)) or fresh)

    def step(self, connection: Connection, run: Run, step: StepDone) -> None:
        """See `step_queries.add`."""
        step_queries.add(connection, run, self._instance.id, step)

    def remove(self, connection: Connection, kind: Kind, before: str, days: float | None) -> int:
        """See `retention.remove`."""
        return remove(connection, kind, before, days)

    def sweep(self, connection: Connection) -> None:
        """Remove the files of artifacts that are gone."""
        self._blobs.sweep(connection)

    def surplus(self, kind: Kind, kept: Bound) -> str | None:
        """See `retention.surplus`."""
        return self._read(lambda connection: surplus(connection, kind, kept))

    def find(self, identity: str) -> Run | None:
        """A run with its inputs and result."""
        return self._read(lambda connection: queries.find(connection, identity))

    def listed(self, chosen: Filter, limit: int, before: str | None) -> Page:
        """See `queries.listed`."""
        return self._read(lambda connection: queries.listed(connection, chosen, limit, before))

    def children(self, parent: str) -> tuple[Run, ...]:
        """See `queries.children`."""
        return self._read(lambda connection: queries.children(connection, parent))

    def artifact(self, run: str, name: str) -> Artifact | None:
        """What a run left, with its content; or what a component of it got or gave."""
        return self._read(
            lambda connection: (
                self._blobs.read(connection, run, name) or step_queries.part(connection, run, name)
            )
        )

    def statistics(self, pipeline: str | None, days: int, version: int | None = None) -> Statistics:
        """See `counting.statistics`."""
        return self._read(lambda connection: statistics(connection, pipeline, days, version))

    def ask(self, work: Callable[[Connection], T]) -> T:
        """What `work` reads."""
        return self._read(work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._gate, self._reading.connect() as connection:
                return work(connection)
        except DBAPIError as error:
            raise Unavailable(f"The history cannot be read now: {explain(error)}.") from error


def apart(asked: Sequence[Asked]) -> Sequence[Asked]:
    """Each by itself; nothing if they are one that cannot be parted."""
    if len(asked) > 1:
        return asked
    change = asked[0].change
    return [Asked(Plains([row])) for row in change] if isinstance(change, Plains) and len(change) > 1 else ()


def refusal(error: Exception) -> ServerError:
    """What to tell whoever waits for a commit."""
    why = explain(error) if isinstance(error, DBAPIError) else "the database refuses"
    return Unavailable(f"The state cannot be written now: {why}.")

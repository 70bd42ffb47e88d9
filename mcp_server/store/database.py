"""The queries of the catalog, each in one transaction. Blocking."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, tuple_, update
from sqlalchemy.exc import DBAPIError

from ..errors import Unavailable
from ..models import Manifest, Options, Version
from . import Committed, Draft, Mark, Marks, Place, Schema, stages
from .file import alone, connect, explain, prepare, upsert
from .records import Placing, Record, Remarks, Staging
from .tables import marks, revisions, schemas, versions

CACHE_DAYS = 90
"""A cached schema that was not written for so long makes room."""
BATCH = 400
TRUST = ("folder", "local", "network")
"""Ways in which files come, the most trusted first."""
"""Names asked for in one statement, well below SQLite's limit on variables."""


class Database:
    """An open database. Raises `Unusable` when it cannot be opened, `Unavailable` when a query cannot run."""

    def __init__(self, place: Place) -> None:
        self._engine = connect(place)
        prepare(self._engine, place)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def revision(self) -> int:
        with self._reading() as connection:
            return _revision(connection)

    def marks(self) -> Marks:
        with self._reading() as connection:
            rows = connection.execute(select(marks)).all()
            by_name = {row.pipeline: Mark(row.upload, row.undeployed, _staging(row)) for row in rows}
            return Marks(_revision(connection), by_name)

    def versions(self, digests: Mapping[str, str]) -> Mapping[str, Version]:
        with self._reading() as connection:
            found = _versions(connection, digests.items(), ~versions.c.deleted)
            return {version.pipeline: version for version in found}

    def latest(self, pipeline: str) -> Version | None:
        query = select(versions).where(versions.c.pipeline == pipeline).order_by(versions.c.number.desc())
        with self._reading() as connection:
            row = connection.execute(query.limit(1)).first()
            return _version(row) if row else None

    def digests(self) -> frozenset[str]:
        with self._reading() as connection:
            return frozenset(connection.scalars(select(versions.c.digest).where(~versions.c.deleted)))

    def add(self, drafts: Sequence[Draft]) -> Committed:
        with self._writing() as connection:
            numbered = tuple(_numbered(connection, draft) for draft in drafts)
            return Committed(_raised(connection), numbered)

    def deploy(self, draft: Draft, upload: bool) -> Committed:
        with self._writing() as connection:
            version = _numbered(connection, draft)
            stages.unarchive(connection, draft.pipeline, version.number)
            _mark(connection, draft.pipeline, undeployed=False, upload=draft.digest if upload else None)
            stages.deployed(connection, draft.pipeline, draft.digest)
            return Committed(_raised(connection), (version,))

    def undeploy(self, pipeline: str) -> Committed:
        with self._writing() as connection:
            _mark(connection, pipeline, undeployed=True)
            stages.deployed(connection, pipeline, None)
            return Committed(_raised(connection))

    def serving(self, digests: Mapping[str, str]) -> None:
        with self._reading() as connection:
            known = stages.production(connection)
        if changed := {name: digest for name, digest in digests.items() if known.get(name) != digest}:
            with self._writing() as connection:
                for name, digest in sorted(changed.items()):
                    stages.deployed(connection, name, digest)

    def records(self, pipeline: str) -> tuple[Record, ...]:
        with self._reading() as connection:
            return stages.records(connection, pipeline)

    def everything(self) -> tuple[Record, ...]:
        with self._reading() as connection:
            return stages.everything(connection)

    def remark(self, pipeline: str, number: int, remarks: Remarks) -> Committed:
        with self._writing() as connection:
            stages.remark(connection, pipeline, number, remarks)
            return Committed(_raised(connection))

    def delete(self, pipeline: str, number: int) -> Committed:
        with self._writing() as connection:
            stages.delete(connection, pipeline, number)
            return Committed(_raised(connection))

    def place(self, placing: Placing) -> Committed:
        with self._writing() as connection:
            stages.place(connection, placing)
            return Committed(_raised(connection))

    def schemas(self, environment: str, digests: Mapping[str, str]) -> Mapping[str, Schema]:
        found: dict[str, Schema] = {}
        key = tuple_(schemas.c.pipeline, schemas.c.digest)
        with self._reading() as connection:
            for batch in _batches(list(digests.items())):
                query = select(schemas).where(key.in_(batch), schemas.c.environment == environment)
                found |= {row.pipeline: _schema(row) for row in connection.execute(query)}
        return found

    def cache(self, environment: str, found: Mapping[tuple[str, str], Schema | None]) -> None:
        now = time.time()
        kept = [
            {
                "pipeline": pipeline,
                "digest": digest,
                "environment": environment,
                "created": now,
                "manifest": schema.manifest.model_dump_json(),
                "options": schema.options.model_dump_json(),
            }
            for (pipeline, digest), schema in found.items()
            if schema
        ]
        key = tuple_(schemas.c.pipeline, schemas.c.digest)
        with self._writing() as connection:
            for batch in _batches(list(found)):
                connection.execute(
                    delete(schemas).where(key.in_(batch), schemas.c.environment == environment)
                )
            if kept:
                connection.execute(insert(schemas), kept)
            connection.execute(delete(schemas).where(schemas.c.created < now - CACHE_DAYS * 86400))

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        with explained(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        """A transaction that holds the right to write from its start, so that it never has to be repeated."""
        with explained(), alone(self._engine).begin() as connection:
            yield connection


@contextmanager
def explained() -> Generator[None]:
    """Raise `Unavailable`, with the reason in words, for what the database refuses."""
    try:
        yield
    except DBAPIError as error:
        raise Unavailable(f"The state folder cannot be used now: {explain(error)}.") from error


def _revision(connection: Connection) -> int:
    return connection.scalar(select(revisions.c.number)) or 0


def _raised(connection: Connection) -> int:
    connection.execute(update(revisions).values(number=revisions.c.number + 1))
    return _revision(connection)


def _versions(
    connection: Connection, keys: Iterable[tuple[str, str]], *conditions: ColumnElement[bool]
) -> Iterator[Version]:
    key = tuple_(versions.c.pipeline, versions.c.digest)
    for batch in _batches(list(keys)):
        query = select(versions).where(key.in_(batch), *conditions)
        yield from map(_version, connection.execute(query))


def _numbered(connection: Connection, draft: Draft) -> Version:
    """The pipeline's version with this digest, also a deleted one; made with the next number if none."""
    for version in _versions(connection, [(draft.pipeline, draft.digest)]):
        vouched = min(version.provenance, draft.provenance, key=TRUST.index)
        same = update(versions).where(
            versions.c.digest == draft.digest, versions.c.pipeline == draft.pipeline
        )
        if vouched != version.provenance:
            connection.execute(same.values(provenance=vouched))
        connection.execute(same.where(versions.c.deleted).values(deleted=False))
        return version.model_copy(update={"provenance": vouched})
    highest = select(func.max(versions.c.number)).where(versions.c.pipeline == draft.pipeline)
    version = Version(
        pipeline=draft.pipeline,
        number=max(draft.number, (connection.scalar(highest) or 0) + 1),
        digest=draft.digest,
        created=time.time(),
        options=draft.options,
        provenance=draft.provenance,
    )
    row = version.model_dump(include={"pipeline", "number", "digest", "created", "provenance"})
    texts = {"options": draft.options.model_dump_json(), "author": draft.author}
    connection.execute(insert(versions).values(**row, **texts, parent=draft.parent))
    return version


def _mark(connection: Connection, pipeline: str, **values: object) -> None:
    statement = upsert(connection, marks).values(pipeline=pipeline, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["pipeline"], set_=values))


def _version(row: Row[tuple[object, ...]]) -> Version:
    return Version(
        pipeline=row.pipeline,
        number=row.number,
        digest=row.digest,
        created=row.created,
        options=Options.model_validate_json(row.options),
        provenance=row.provenance,
    )


def _staging(row: Row[tuple[object, ...]]) -> Staging | None:
    return None if row.staging is None else Staging(row.staging, row.share)


def _schema(row: Row[tuple[object, ...]]) -> Schema:
    return Schema(Manifest.model_validate_json(row.manifest), Options.model_validate_json(row.options))


def _batches(keys: Sequence[tuple[str, str]]) -> Iterator[Sequence[tuple[str, str]]]:
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))

"""The queries about versions: what is known of them, their stages, their deletion. In a transaction.

A deleted version keeps its row, so that its number is never given again and its runs know what they ran.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from ..errors import Conflict, NotFound
from ..models import Options, Version
from .records import Placing, Record, Remarks
from .tables import marks, versions


def records(connection: Connection, pipeline: str) -> tuple[Record, ...]:
    """Every version of a pipeline that was not deleted, by rising number."""
    query = select(versions).where(versions.c.pipeline == pipeline, ~versions.c.deleted)
    return tuple(_record(row) for row in connection.execute(query.order_by(versions.c.number)))


def everything(connection: Connection) -> tuple[Record, ...]:
    """Every version of every pipeline that was not deleted, by name and rising number."""
    query = select(versions).where(~versions.c.deleted)
    ordered = query.order_by(versions.c.pipeline, versions.c.number)
    return tuple(_record(row) for row in connection.execute(ordered))


def remark(connection: Connection, pipeline: str, number: int, remarks: Remarks) -> None:
    """Write down what a person says about a version. Raises `NotFound`."""
    row = _row(connection, pipeline, number)
    said: dict[str, Any] = {
        "tags": _merged(orjson.loads(row.tags), remarks.tags),
        "metrics": _merged(orjson.loads(row.metrics), remarks.metrics),
    }
    if remarks.description is not None:
        said["description"] = remarks.description
    connection.execute(update(versions).where(_is(pipeline, number)).values(said))


def delete(connection: Connection, pipeline: str, number: int) -> None:
    """Forget a version. Raises `NotFound`, and `Conflict` for one that a person put in production."""
    row = _row(connection, pipeline, number)
    mark = connection.execute(select(marks).where(marks.c.pipeline == pipeline)).first()
    if mark is not None and mark.upload == row.digest:
        raise Conflict(f"Version {number} of {pipeline} is in production; give another version that stage.")
    if mark is not None and mark.staging == number:
        _mark(connection, pipeline, staging=None, share=0.0)
    connection.execute(update(versions).where(_is(pipeline, number)).values(deleted=True))


def unarchive(connection: Connection, pipeline: str, number: int) -> None:
    """It serves again; once it is displaced it has no stage."""
    connection.execute(update(versions).where(_is(pipeline, number)).values(archived=False))


def production(connection: Connection) -> Mapping[str, str]:
    """The digest of the version that has production, by pipeline."""
    query = select(versions.c.pipeline, versions.c.digest).where(versions.c.deployed.is_not(None))
    return {row.pipeline: row.digest for row in connection.execute(query)}


def deployed(connection: Connection, pipeline: str, digest: str | None) -> None:
    """This one has production from now on, or None has; one that had it keeps its time."""
    every, this = update(versions).where(versions.c.pipeline == pipeline), versions.c.digest == (digest or "")
    connection.execute(every.where(~this, versions.c.deployed.is_not(None)).values(deployed=None))
    connection.execute(every.where(this, versions.c.deployed.is_(None)).values(deployed=time.time()))


def place(connection: Connection, placing: Placing) -> None:
    """Give a version its stage, in one go with what it displaces. Raises `NotFound`."""
    name, number = placing.pipeline, placing.number
    digest = _row(connection, name, number).digest
    for archived in placing.archives:
        connection.execute(update(versions).where(_is(name, archived)).values(archived=True))
    archived = placing.stage == "archived"
    connection.execute(update(versions).where(_is(name, number)).values(archived=archived))
    staged = connection.scalar(select(marks.c.staging).where(marks.c.pipeline == name))
    said: dict[str, Any] = {}
    if placing.stage == "staging":
        said = {"staging": number, "share": placing.share}
    elif staged == number:
        said = {"staging": None, "share": 0.0}
    if placing.stage == "production":
        said |= {"upload": digest, "undeployed": False}
        deployed(connection, name, digest)
    elif placing.unpins:
        said |= {"upload": None}
    if said:
        _mark(connection, name, **said)


def _record(row: Row[Any]) -> Record:
    version = Version(
        pipeline=row.pipeline,
        number=row.number,
        digest=row.digest,
        created=row.created,
        options=Options.model_validate_json(row.options),
        provenance=row.provenance,
    )
    tags, metrics = orjson.loads(row.tags), orjson.loads(row.metrics)
    said = (row.description, tags, metrics)
    return Record(version, row.author, row.parent, *said, row.archived, row.deployed)


def _row(connection: Connection, pipeline: str, number: int) -> Row[Any]:
    row = connection.execute(select(versions).where(_is(pipeline, number), ~versions.c.deleted)).first()
    if row is None:
        raise NotFound(f"{pipeline[:64]} has no version {number}.")
    return row


def _is(pipeline: str, number: int) -> ColumnElement[bool]:
    return and_(versions.c.pipeline == pipeline, versions.c.number == number)


def _mark(connection: Connection, pipeline: str, **values: Any) -> None:
    """Change what was decided about a name, or decide for the first time."""
    changed = connection.execute(update(marks).where(marks.c.pipeline == pipeline).values(values))
    if not changed.rowcount:
        connection.execute(insert(marks).values({"pipeline": pipeline, "undeployed": False} | values))


def _merged(known: dict[str, Any], said: Any) -> str:
    return orjson.dumps(
        {key: value for key, value in {**known, **said}.items() if value is not None}
    ).decode()

"""The tables of what happened: runs and what they left, the run tree, statistics, servers."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    false,
)

from .tables import metadata

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("timeout", Float, nullable=False),
    Column("started", Float, nullable=False),
    Column("finished", Float),
    Column("error", Text),
    Column("usage", Text),
    Column("parent", Text),
    Column("step", Text),
    Column("head", Text),
    Column("key", Text),
    Column("fingerprint", Text),
    Column("size", Integer, nullable=False),
    Column("partial", Boolean, nullable=False),
    Column("fault", Text),
    Column("inputs", LargeBinary),
    Column("content", LargeBinary),
    Column("structured", LargeBinary),
    Column("continues", Boolean, nullable=False, server_default=false()),
    Column("events", LargeBinary),
    Column("question", LargeBinary),
    Column("expires", Float),
    Column("swept", Text),
)
"""One row for each run. Ids sort by time.

`instance` and `attempt` are the claim: who has another one may not write. `head` is the execution a
run stands at. `key` is the hash of caller and idempotency key, `fingerprint` that of what was
asked with it. `size` is the bytes of what went in and out, of the artifacts and the recorded steps. `usage`,
`fault`, `inputs`, `structured` and `question` (what it waits for) are JSON objects, `content` and `events`
JSON arrays. Until it `expires`, retention spares it: somebody was given its id. Whoever finds a run that
`continues` without its server goes on with it. `swept` is what retention took of it: `steps`, `artifacts`, or
both. Times are seconds since the epoch.
"""

unfinished = runs.c.finished.is_(None)
Index("ix_runs_pipeline", runs.c.pipeline, runs.c.id)
Index("ix_runs_going", runs.c.instance, sqlite_where=unfinished)  # on PostgreSQL, too: see `store.file`
Index("ix_runs_parent", runs.c.parent, sqlite_where=runs.c.parent.is_not(None))
Index("ix_runs_key", runs.c.key, unique=True, sqlite_where=runs.c.key.is_not(None))

artifacts = Table(
    "artifacts",
    metadata,
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("mime_type", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("digest", Text, index=True),
    Column("content", LargeBinary),
)
"""What runs left. Large ones are files named by their `digest` (SHA-256); `content` is then empty."""

executions = Table(
    "executions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("parent", Text),
    Column("number", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("finished", Float),
    Column("error", Text),
    Column("selected", Text),
    Column("merge", Text),
    Column("feedback", Text),
    Column("inputs", LargeBinary),
)
"""The tree of step executions: `parent` is the execution before it, `number` the step's place from 0.

A write must name the `attempt` token, or it is refused. `selected` is a JSON array of response ids;
`inputs` a JSON object of what the step was given, or of what is known of a component's call. A mark, where
a run was forked or rewound to a component, is `queued`; its `inputs` are what was changed.
"""

responses = Table(
    "responses",
    metadata,
    Column("execution", Text, ForeignKey("executions.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("run", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("seconds", Float),
    Column("error", Text),
    Column("response", LargeBinary, nullable=False),
)
"""What one model said in an execution; or what one component got (`inputs`) and gave (`outputs`), by `id`.

`response` is the whole as a JSON object.
"""

counters = Table(
    "counters",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("total", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
)
"""How many calls took about how long: a histogram for each version and day (UTC, days since the epoch).

Retention does not touch it. Version 0 has the calls that were counted before versions were told apart.
"""

measurements = Table(
    "measurements",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Index("ix_measurements_version", "pipeline", "version"),
)
"""What was measured of versions; see `measurements.Measurement`. `metrics` is a JSON object."""

instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("lease", Float),
)
"""The servers on this store. One lives as long as its file is locked; on PostgreSQL until its `lease`."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("version", Integer),
    Column("run", Text),
    Column("outcome", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("code", Integer),
    Column("error", Text),
)
"""What others were told, and how far it is; see `outbox.Delivery`. The server `instance` delivers it."""

errands = Table(
    "errands",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run", Text, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("instance", Text, nullable=False),
    Column("number", Integer),
    Column("answers", LargeBinary),
)
"""What the server that has a run is to do with it; see `errands.Errand`. The server `instance` asks for it.

Ids sort by time. `number` is the question that the `answers` (a JSON object) belong to; without, the run is
to be cancelled.
"""

audit = Table(
    "audit",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Float, nullable=False),
    Column("action", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("version", Integer),
    Column("digest", Text),
    Column("outcome", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Index("ix_audit_subject", "subject", "number"),
)
"""Who did what; see `audit.AuditRecord`. Rows are only ever added."""

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
"""One row: the last one of `audit`."""

shared_counters = Table(
    "shared_counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("values", Text, nullable=False),
    Column("changed", Float, nullable=False),
)
"""What servers count together, as JSON by name; only on PostgreSQL has it rows, which may go at any time."""

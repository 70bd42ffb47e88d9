"""The store on real files: numbers, marks, the cache, migrations, and places that cannot be used."""

from __future__ import annotations

import sqlite3
import stat
import sys
import threading
from pathlib import Path

import anyio
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from mcp_server.errors import Outdated, Unusable
from mcp_server.models import Manifest, Options
from mcp_server.store import Draft, Filter, Mark, Place, Schema, Store, revisions
from mcp_server.store.file import connect, prepare
from mcp_server.store.history import History
from mcp_server.store.revisions import REVISIONS
from mcp_server.store.tables import metadata

pytestmark = pytest.mark.anyio

MIGRATIONS = Path(__file__).parents[1] / "mcp_server" / "store" / "migrations"


def draft(pipeline: str = "p", digest: str = "d1", number: int = 1) -> Draft:
    return Draft(pipeline, digest, Options(title="T", env=("KEY",)), "someone", number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


async def opened(place: Place) -> Store:
    store = Store(place)
    await store.open()
    return store


@pytest.fixture(params=["file", "memory", "postgresql"])
def place(request: pytest.FixtureRequest, path: Path) -> Place:
    """A new database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("cluster").database()
    return path if request.param == "file" else None


@pytest.fixture
async def store(place: Place):
    made = await opened(place)
    yield made
    await made.close()


async def test_versions_are_numbered_from_one_and_a_digest_keeps_its_number(store: Store) -> None:
    added = await store.add([draft(digest="a"), draft(digest="b"), draft(digest="a"), draft("q", "a")])
    assert [version.number for version in added.versions] == [1, 2, 1, 1]
    assert (await store.add([draft(digest="b")])).versions == added.versions[1:2]
    assert (await store.versions({"p": "b", "q": "b", "r": "a"})) == {"p": added.versions[1]}
    assert await store.latest("p") == added.versions[1]
    assert await store.latest("r") is None
    assert await store.digests() == {"a", "b"}
    assert added.versions[0].options == Options(title="T", env=("KEY",))


async def test_a_version_may_ask_for_a_higher_number_but_not_a_taken_one(store: Store) -> None:
    numbers = [(await store.add([draft(digest=str(n), number=n)])).versions[0].number for n in (5, 2, 9)]
    assert numbers == [5, 6, 9]


async def test_every_change_raises_the_revision_by_one(store: Store) -> None:
    assert await store.revision() == 0
    assert (await store.add([draft()])).revision == 1
    assert (await store.deploy(draft(digest="d2"), upload=True)).revision == 2
    assert (await store.undeploy("p")).revision == 3
    assert (await store.marks()).revision == await store.revision() == 3


async def test_marks_tell_what_was_decided_last(store: Store) -> None:
    await store.deploy(draft(), upload=True)
    assert (await store.marks()).by_name == {"p": Mark("d1", undeployed=False)}
    await store.undeploy("p")
    assert (await store.marks()).by_name == {"p": Mark("d1", undeployed=True)}
    await store.deploy(draft(digest="folder"), upload=False)
    assert (await store.marks()).by_name == {"p": Mark(None, undeployed=False)}


async def test_cached_schemas_belong_to_pipeline_digest_and_environment(store: Store) -> None:
    schema = Schema(Manifest(kind="yaml", tool={"name": "p"}, blocking=True), Options(title="T"))
    many = {(f"p{number}", "d"): schema for number in range(1000)}
    await store.cache("here", many)
    assert len(await store.schemas("here", {f"p{number}": "d" for number in range(1000)})) == 1000
    assert await store.schemas("here", {"p1": "d", "p2": "other"}) == {"p1": schema}
    assert await store.schemas("elsewhere", {"p1": "d"}) == {}
    await store.cache("here", {("p1", "d"): None})
    assert await store.schemas("here", {"p1": "d"}) == {}


async def test_what_was_acknowledged_is_there_for_the_next_start_and_for_others(path: Path) -> None:
    store = await opened(path)
    await store.deploy(draft(), upload=True)
    other = await opened(path)
    assert (await other.marks()).by_name == {"p": Mark("d1")}
    await store.close()
    await other.undeploy("p")
    await other.close()
    again = await opened(path)
    assert (await again.marks()).by_name == {"p": Mark("d1", undeployed=True)}
    await again.close()


async def test_writers_at_once_wait_for_each_other(path: Path) -> None:
    stores = [await opened(path) for _ in range(4)]

    async def write(store: Store) -> None:
        for number in range(10):
            await store.add([draft(digest=f"{id(store)}-{number}")])

    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(write, store)
    latest = await stores[0].latest("p")
    assert latest is not None
    assert latest.number == await stores[0].revision() == 40
    for store in stores:
        await store.close()


async def test_servers_that_make_the_file_at_once_all_open_it(path: Path) -> None:
    code = (
        "import anyio, sys; from pathlib import Path; from mcp_server.store import Store\n"
        "async def main():\n"
        "    store = Store(Path(sys.argv[1])); await store.open()\n"
        "    await store.undeploy('x'); await store.close()\n"
        "anyio.run(main)"
    )
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(anyio.run_process, [sys.executable, "-c", code, str(path)])
    store = await opened(path)
    assert await store.revision() == 4
    await store.close()


async def test_the_files_are_private_and_commits_are_synchronous(path: Path) -> None:
    store = await opened(path)
    await store.undeploy("p")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    with store._database._reading() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 2, 1, 10000]
    await store.close()


async def test_a_start_on_no_older_state_does_not_import_alembic_and_the_module_no_sqlalchemy(
    path: Path,
) -> None:
    code = (
        "import anyio, sys; from pathlib import Path; from mcp_server.store import Store\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "async def main():\n"
        "    store = Store(Path(sys.argv[1])); await store.open(); await store.close()\n"
        "anyio.run(main); assert 'sqlalchemy' in sys.modules and 'alembic' not in sys.modules"
    )
    for _ in ("the first", "the next"):
        await anyio.run_process([sys.executable, "-c", code, str(path)])


def upgrade(connection: Connection, revision: str) -> None:
    """Apply the migrations up to this one."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@pytest.mark.parametrize("how", ["made", "migrated"])
async def test_the_tables_are_exactly_those_of_the_code(path: Path, how: str) -> None:
    path.parent.mkdir(exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    if how == "made":
        await (await opened(path)).close()
    else:
        with engine.begin() as connection:
            upgrade(connection, "head")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == REVISIONS[-1]
        assert connection.scalar(text("SELECT number FROM revisions")) == 0
    engine.dispose()


def test_the_revisions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(scripts)) == REVISIONS


async def test_a_file_of_a_newer_release_is_refused_and_left_alone(path: Path) -> None:
    await (await opened(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Outdated, match="newer release"):
        await opened(path)
    with pytest.raises(Outdated, match="newer release"):
        revisions.check(path)


async def test_a_file_that_cannot_be_looked_into_is_no_newer_release(tmp_path: Path, path: Path) -> None:
    revisions.check(path)
    (tmp_path / "odd").write_bytes(b"not a database at all" * 100)
    revisions.check(tmp_path / "odd")
    await (await opened(path)).close()
    revisions.check(path)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
async def test_a_damaged_file_is_told_without_its_path(path: Path, content: bytes) -> None:
    await anyio.Path(path.parent).mkdir()
    await anyio.Path(path).write_bytes(content)
    with pytest.raises(Unusable) as refused:
        await opened(path)
    assert str(path.parent) not in str(refused.value)
    assert await anyio.Path(path).read_bytes() == content


async def test_a_place_that_is_no_folder_is_told_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="state folder cannot be used") as refused:
        await opened(tmp_path / "file" / "state.db")
    assert str(tmp_path) not in str(refused.value)


FULL = """
import resource, signal, sys
from pathlib import Path
import anyio
from mcp_server.errors import Unavailable
from mcp_server.models import Options
from mcp_server.store import Draft, Store

async def main():
    store = Store(Path(sys.argv[1]))
    await store.open()
    await store.deploy(Draft("p", "kept", Options(), "someone"), upload=True)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
    try:
        await store.deploy(Draft("p", "x" * 400_000, Options(), "someone"), upload=True)
    except Unavailable as refused:
        assert sys.argv[1] not in str(refused)
        print(refused)
    assert (await store.marks()).by_name["p"].upload == "kept"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.undeploy("p")
    await store.close()

anyio.run(main)
"""
"""A server whose disk takes no more than 150 KB in a file."""


async def test_a_disk_that_takes_no_more_refuses_the_change_and_keeps_what_was_there(path: Path) -> None:
    pytest.importorskip("resource")
    ended = await anyio.run_process([sys.executable, "-c", FULL, str(path)])
    assert b"The state folder cannot be used now" in ended.stdout


@pytest.fixture(params=["file", "postgresql"])
def shared(request: pytest.FixtureRequest, path: Path) -> Path | str:
    """A new database of each kind that several servers can open."""
    return path if request.param == "file" else request.getfixturevalue("cluster").database()


@pytest.mark.parametrize("before", REVISIONS[:-1])
async def test_a_state_of_every_earlier_revision_is_brought_up_to_date(
    shared: Path | str, before: str
) -> None:
    engine = connect(shared)
    if isinstance(shared, Path):
        shared.parent.mkdir()
    with engine.begin() as connection:
        upgrade(connection, before)
        connection.execute(
            text(
                "INSERT INTO versions (pipeline, number, digest, created, author, options) "
                "VALUES ('p', 4, 'd', 1.5, 'someone', '{}')"
            )
        )
        counted = "0002" <= before < "0012"
        if counted:
            columns = "(pipeline, day, bucket, total, failed, seconds)"
            rows = "('p', 20000, 3, 5, 2, 1.5), ('p', 20000, 4, 1, 0, 0.5), ('q', 20001, 3, 7, 0, 7)"
            connection.execute(text(f"INSERT INTO counters {columns} VALUES {rows}"))
    store = await opened(shared)
    latest = await store.latest("p")
    assert latest is not None
    assert (latest.number, latest.digest, latest.created) == (4, "d", 1.5)
    await store.close()
    async with History(shared) as history:
        assert (await history.listed(Filter())).runs == ()
        whole = (await history.statistics("p", 1)).whole
        assert (whole.total, whole.failed, whole.mean) == (
            (6, 2, pytest.approx(2 / 6)) if counted else (0, 0, None)
        )
        assert (await history.statistics("p", 1, 4)).whole.total == 0, "counted for no version in particular"
        assert (await history.statistics(None, 9)).whole.total == (13 if counted else 0)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://x/y", "must be a URL that begins with"),
        ("postgresql://x/y", "must be a URL that begins with"),
        ("nonsense", "not a URL"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/none", "its server cannot be reached"),
    ],
)
async def test_a_url_that_cannot_be_used_is_told_without_its_secrets(url: str, why: str) -> None:
    with pytest.raises(Unusable, match=why) as refused:
        await opened(url)
    assert "secret" not in str(refused.value)


def test_many_may_open_a_new_file_at_the_same_moment(tmp_path: Path) -> None:
    refused: list[Unusable] = []

    def open_one(path: Path, gate: threading.Barrier) -> None:
        gate.wait()
        engine = connect(path)
        try:
            prepare(engine, path)
        except Unusable as error:
            refused.append(error)
        finally:
            engine.dispose()

    for number in range(20):
        gate = threading.Barrier(4)
        threads = [
            threading.Thread(target=open_one, args=(tmp_path / f"{number}" / "state.db", gate))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert refused == []

"""A PostgreSQL server of our own for tests: on loopback, in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from canaries import CANARIES, PASSWORD

INSTALLED = "/usr/lib/postgresql"
"""Where Debian keeps the programs of each release."""


class Cluster:
    """A running server that makes databases."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = count()

    def database(self) -> str:
        """The URL of a new, empty database, with a password that is not asked for."""
        psycopg = pytest.importorskip("psycopg")
        name = f"test{next(self._numbers)}"
        address = f"postgresql://tests@127.0.0.1:{self._port}"
        with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://tests:{PASSWORD}@127.0.0.1:{self._port}/{name}"


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a server, and stop it at the end. Skips the test, loudly, where none is installed."""
    programs = folder_of_programs()
    if programs is None:
        pytest.skip("NOT TESTED ON POSTGRESQL: install it (Debian: apt-get install postgresql)")
    user = unprivileged()
    root = Path(tempfile.mkdtemp(prefix="postgresql"))
    shutil.chown(root, user)
    data, port = root / "data", free_port()
    try:
        run(user, programs / "initdb", "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {root} -c shared_buffers=32MB"
        run(user, programs / "pg_ctl", "-D", data, "-w", "-l", root / "log", "-o", options, "start")
        try:
            yield Cluster(port)
        finally:
            run(user, programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
            CANARIES.look_in(root)
    finally:
        shutil.rmtree(root)


def folder_of_programs() -> Path | None:
    """Where `initdb` is, None if it is not installed."""
    if os.name != "posix":
        return None
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    releases = sorted(Path(INSTALLED).glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return releases[-1].parent if releases else None


def unprivileged() -> str:
    """Who runs it: the server refuses to run as root."""
    return getpass.getuser() if os.getuid() else "nobody"


def run(user: str, *command: object) -> None:
    """Run a program as that user, in a folder it may enter; its output is shown if it fails."""
    who = {"user": user, "extra_groups": []} if os.getuid() == 0 else {}
    ended = subprocess.run(
        [str(part) for part in command],
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
        **who,
    )
    assert ended.returncode == 0, ended.stdout.decode(errors="replace")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

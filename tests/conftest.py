"""What every test may use: asyncio, and folders of pipelines written on the spot."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"

import postgresql
import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgresql.Cluster]:
    """A PostgreSQL server; the tests that need it are skipped where there is none."""
    with postgresql.cluster() as running:
        yield running

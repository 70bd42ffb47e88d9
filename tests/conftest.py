"""What every test may use: asyncio, and folders of pipelines written on the spot."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"

import canaries
import postgresql
import pytest

USER_DATA = tempfile.TemporaryDirectory(prefix="mcp-server-", ignore_cleanup_errors=True)
atexit.register(USER_DATA.cleanup)
os.environ["XDG_DATA_HOME"] = USER_DATA.name  # where a running server says that it is there
os.environ |= canaries.ENVIRONMENT


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` means: half as many again as there are cores, since tests mostly wait."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the long form of the endurance tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: only part of the long form")
    config.addinivalue_line("markers", "shows(*names): these secrets get out, on purpose")
    config.pluginmanager.register(canaries.CANARIES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        items[:] = [each for each in items if "long" not in each.keywords]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgresql.Cluster]:
    """A PostgreSQL server; the tests that need it are skipped where there is none."""
    with postgresql.cluster() as running:
        yield running

"""What every test may use: asyncio, and folders of pipelines written on the spot."""

from __future__ import annotations

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

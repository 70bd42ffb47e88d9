"""Copies of sources: one that the disk does not give back is no copy, and the log says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_server.catalog.shelf import Shelf
from mcp_server.models import Source


def test_a_copy_that_cannot_be_read_is_none_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(tmp_path)
    source = Source(name="one", files={"pipeline.yml": b"components: {}\n"})
    place = shelf.place(source)
    assert shelf.find(source.digest) == place
    (place / "pipeline.yml").unlink()
    (place / "pipeline.yml").mkdir()  # the plainest way to have the system refuse to read it, also to root
    assert shelf.find(source.digest) is None
    assert "cannot be read: Is a directory" in caplog.text and str(tmp_path) not in caplog.text

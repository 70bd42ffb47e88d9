"""Writes into every archive that is built which commit it is made of; see `mcp_server/telemetry/built.py`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "mcp_server/telemetry/built.json"


class Built(BuildHookInterface):
    """Adds the file to archives made from a checkout; a wheel made from a source archive keeps it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it packs."""
        if version == "editable" or (Path(self.root) / TARGET).exists():
            return
        try:
            asked = ["git", "show", "--no-patch", "--format=%cs %H", "HEAD"]
            told = subprocess.run(asked, cwd=self.root, check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return  # no checkout: nothing is known
        date, commit = told.split()
        self._folder = tempfile.TemporaryDirectory()
        place = Path(self._folder.name) / "built.json"
        place.write_text(json.dumps({"build_date": date, "git_commit": commit}))
        build_data["force_include"][str(place)] = TARGET

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when it has packed."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()

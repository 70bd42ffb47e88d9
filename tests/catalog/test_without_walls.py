"""On a system without Landlock: what the server says and does. A filter takes it from a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_server.engines.confinement import abilities

from .conftest import wrapper

BLIND = '''
import ctypes, errno, os, struct
LANDLOCK = 444
def take_landlock_away():
    """From this process and those it starts: the calls of Landlock do not exist."""
    code = [(0x20, 0, 0, 0), (0x35, 0, 2, LANDLOCK), (0x35, 1, 0, LANDLOCK + 3)]
    code += [(0x06, 0, 0, 0x00050000 | errno.ENOSYS), (0x06, 0, 0, 0x7FFF0000)]
    packed = b"".join(struct.pack("HBBI", *each) for each in code)
    text = ctypes.create_string_buffer(packed, len(packed))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(text)), 16)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head, 0, 0) == 0
take_landlock_away()
'''
ASK = """
import anyio, json, sys
from pathlib import Path
from mcp_server.catalog import Catalog
from mcp_server.engines.routing import RoutingEngine
from mcp_server.errors import ServerError
from mcp_server.settings import Settings
async def deploy(host, **more):
    given = Settings(state=Path(sys.argv[1]), engine="hosts", host=host, **more)
    async with RoutingEngine(given) as engine, Catalog(given, engine) as catalog:
        await catalog.ready()
        try:
            status = await catalog.deploy("adder", {"pipeline_wrapper.py": sys.argv[2]}, keep=False)
        except ServerError as refused:
            return str(refused)
        return [status.isolation, *status.warnings]
async def main():
    afar, allowed = await deploy("0.0.0.0"), await deploy("0.0.0.0", isolation="process")
    print(json.dumps([afar, allowed, await deploy("127.0.0.1")]))
anyio.run(main)
"""


def test_uploads_over_a_network_are_refused_unless_allowed_and_others_are_told(
    tmp_path: Path,
) -> None:
    if not abilities().filters:
        pytest.skip("NOT TESTED: Landlock cannot be taken away here")
    command = [sys.executable, "-c", BLIND + ASK, str(tmp_path / "state"), wrapper()]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    afar, (allowed, *warned), (near, *warnings) = json.loads(told)
    assert afar == (
        "It has to run in a sandbox, and this system lacks limits on files (Landlock). "
        "With --isolation process (isolation) it runs without."
    )
    assert allowed == near == "process"
    assert any("Landlock" in each for each in warnings) and any("Landlock" in each for each in warned)

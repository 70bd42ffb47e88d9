"""A program that has everything imported and forks servers: each is `mcp-server run`, ready in 0.2 s.

Reads lines of JSON, `[output file, argument, …]`, and answers each with the process id of a server. What it
forked ends with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

from mcp_server.cli import main
from mcp_server.engines.hosts.forkserver import die_with_parent
from mcp_server.pipelines import haystack

LATER = (
    "mcp_server.cli.commands",
    "mcp_server.cli.http",
    "mcp_server.store.database",
    "mcp_server.store.journal",
    "mcp_server.store.tree_queries",
    "alembic.command",
    "haystack",
)
"""What a server imports only when it needs it."""


def live(output: str, *arguments: str) -> NoReturn:
    """Become a server whose output goes to a file, and that does not outlive its nurse."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor, source in enumerate((os.open(os.devnull, os.O_RDONLY), written, written)):
        os.dup2(source, descriptor)
    sys.argv = ["mcp-server", "run", *arguments]
    try:
        main()
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else 1)
    os._exit(1)


def nurse() -> None:
    """Fork a server for each line."""
    for name in LATER:
        import_module(name)
    haystack.install()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(*json.loads(line))
        print(child, flush=True)


if __name__ == "__main__":
    nurse()

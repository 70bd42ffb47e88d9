"""The entry of a host that was spawned: takes over its end of the socket, then works.

Started as `python -m mcp_server.engines.hosts.spawned FD LIMITS`, limits as JSON; on Windows the socket
comes over stdin.
"""

from __future__ import annotations

import socket
import sys

from ...models import Limits
from .worker import serve


def main() -> None:
    where, limits = sys.argv[1:]
    if sys.platform == "win32":
        end = socket.fromshare(sys.stdin.buffer.read())
    else:
        end = socket.socket(fileno=int(where))
    serve(end, Limits.model_validate_json(limits))


if __name__ == "__main__":
    main()

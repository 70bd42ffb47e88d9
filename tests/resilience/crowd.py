"""Many clients in a process of its own, as cheap as can be, so that it is the server that has no time.

    python crowd.py PORT CONNECTIONS RATE SECONDS < request

Each connection has one request in flight at most. At RATE 0 the next one follows its answer at once; else
so many are sent a second over whichever connection is free, and counted as `unsent` if none is.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections import deque
from typing import Any

GOOD, REFUSED = b"HTTP/1.1 200 ", b"HTTP/1.1 503 "
REST = 0.001
"""Seconds it rests at most while something is due."""


class Crowd:
    """The connections, and what became of their requests."""

    def __init__(self, port: int, count: int, request: bytes) -> None:
        self.good = self.unsent = 0
        self.refused: list[float] = []
        self.wrong: list[str] = []
        self._request = request
        self._poll = select.epoll()
        self._since: dict[int, float] = {}
        self._came: dict[int, bytes] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._free: deque[int] = deque()
        for _ in range(count):
            each = socket.create_connection(("127.0.0.1", port), 30)
            each.setblocking(False)
            self._sockets[each.fileno()] = each
            self._poll.register(each.fileno(), select.EPOLLIN)
            self._free.append(each.fileno())

    def run(self, rate: float, seconds: float) -> None:
        """Send for so long, and forget what is in flight then."""
        due = time.perf_counter()
        end = due + seconds
        while (now := time.perf_counter()) < end:
            if not rate:
                while self._free:
                    self._send(self._free.popleft())
            while rate and due <= now:
                due += 1 / rate
                if self._free:
                    self._send(self._free.popleft())
                else:
                    self.unsent += 1
            for number, _ in self._poll.poll(REST if rate else 0.1):
                self._receive(number)

    def told(self) -> dict[str, Any]:
        late = sorted(self.refused) or [0.0]
        middle, worst = late[len(late) // 2], late[int(len(late) * 0.99)]
        counts = {"good": self.good, "refused": len(self.refused), "unsent": self.unsent}
        return {**counts, "middle": middle, "worst": worst, "wrong": self.wrong[:3]}

    def _send(self, number: int) -> None:
        self._since[number] = time.perf_counter()
        self._sockets[number].send(self._request)

    def _receive(self, number: int) -> None:
        try:
            piece = self._sockets[number].recv(65536)
        except ConnectionError:
            piece = b""
        came = self._came.pop(number, b"") + piece
        if not piece:
            self.wrong.append(f"closed after {came[:100]!r}")
            self._poll.unregister(number)
        elif is_whole(came):
            self._judge(came, time.perf_counter() - self._since[number])
            self._free.append(number)
        else:
            self._came[number] = came

    def _judge(self, came: bytes, seconds: float) -> None:
        if came.startswith(GOOD):
            self.good += 1
        elif came.startswith(REFUSED):
            self.refused.append(seconds)
        else:
            self.wrong.append(repr(came[:300]))


def is_whole(came: bytes) -> bool:
    """True if a response has come to its end."""
    head, found, body = came.partition(b"\r\n\r\n")
    if not found:
        return False
    length = head.lower().partition(b"content-length: ")[2]
    return len(body) >= int(length.partition(b"\r\n")[0]) if length else body.endswith(b"0\r\n\r\n")


if __name__ == "__main__":
    port, count, rate, seconds, *cores = map(float, sys.argv[1:])
    if cores:
        os.sched_setaffinity(0, {int(core) for core in cores})
    crowd = Crowd(int(port), int(count), sys.stdin.buffer.read())
    crowd.run(rate, seconds)
    print(json.dumps(crowd.told()))

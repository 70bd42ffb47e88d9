"""Requests that two servers would read differently, or that are none: refused, with all that follows."""

from __future__ import annotations

import pytest
from clients import Served

from .sockets import call, host, wire

pytestmark = pytest.mark.anyio

SMUGGLED = "GET /status HTTP/1.1\r\nHost: smuggled\r\n\r\n"
TWO = "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED
POST = "POST /echo/run HTTP/1.1\r\n{host}"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
GET = "GET /status HTTP/1.1\r\n{host}"
HEADS = {
    "chunked, then a length": POST + TWO,
    "a length, then chunked": POST + "Content-Length: 4\r\n"
    f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}",
    "two lengths": POST + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
    "two equal lengths": POST + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{{}}",
    "a list of lengths": POST + "Content-Length: 2, 2\r\n\r\n{{}}",
    "a length with a sign": POST + "Content-Length: +2\r\n\r\n{{}}",
    "a negative length": POST + "Content-Length: -2\r\n\r\n{{}}",
    "a length in hex": POST + "Content-Length: 0x2\r\n\r\n{{}}",
    "a length too large": POST + "Content-Length: 99999999999999999999\r\n\r\n{{}}",
    "a length of nothing": POST + "Content-Length: \r\n\r\n{{}}",
    "a length with a blank in it": POST + "Content-Length: 2 2\r\n\r\n{{}}",
    "an unknown coding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked, not last": POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked after a tab": POST + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a blank before the colon": POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "a size of a chunk that is none": CHUNKED + "xyz\r\n{{}}\r\n0\r\n\r\n",
    "a size with a sign": CHUNKED + "-2\r\n{{}}\r\n0\r\n\r\n",
    "a size like 0x2": CHUNKED + "0x2\r\n{{}}\r\n0\r\n\r\n",
    "a size too large": CHUNKED + "fffffffffffffffff\r\n{{}}\r\n",
    "a chunk longer than its size": CHUNKED + "1\r\n{{}}\r\n0\r\n\r\n",
    "a bare line feed": "GET /status HTTP/1.1\n{host}\n\n",
    "a bare carriage return": "GET /status HTTP/1.1\r{host}\r\r",
    "a line feed in the head": GET + "X: a\nContent-Length: 4\r\n\r\n",
    "a NUL in a value": GET + "X: a\x00b\r\n\r\n",
    "a NUL in a name": GET + "X\x00Y: a\r\n\r\n",
    "a header without a colon": GET + "nothing\r\n\r\n",
    "a header without a name": GET + ": nothing\r\n\r\n",
    "a head that begins with a blank": "GET /status HTTP/1.1\r\n X: a\r\n{host}\r\n",
    "two hosts": GET + "{host}\r\n",
    "another host": GET + "Host: evil.example\r\n\r\n",
    "no host": "GET /status HTTP/1.1\r\n\r\n",
    "a URL as the target": "GET http://evil.example/status HTTP/1.1\r\n{host}\r\n",
    "its own URL as the target": "GET http://127.0.0.1/status HTTP/1.1\r\n{host}\r\n",
    "a target that is no path": "GET status HTTP/1.1\r\n{host}\r\n",
    "a tunnel": "CONNECT evil.example:443 HTTP/1.1\r\n{host}\r\n",
    "a star": "OPTIONS * HTTP/1.1\r\n{host}\r\n",
    "a blank in the target": "GET /sta tus HTTP/1.1\r\n{host}\r\n",
    "an unknown method": "STEAL /status HTTP/1.1\r\n{host}\r\n",
    "HTTP/2 in plain text": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": "GET /status HTTP/9.9\r\n{host}\r\n",
    "no version": "GET /status\r\n",
    "a handshake of TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("kind", HEADS)
async def test_what_two_servers_would_read_differently_is_refused(served: Served, kind: str) -> None:
    sent = HEADS[kind].format(host=host(served.url))
    async with wire(served.url) as raw:
        await raw.send(sent.encode("latin-1"))
        await raw.send(SMUGGLED.encode())
        await raw.send(f"GET /status HTTP/1.1\r\n{host(served.url)}Connection: close\r\n\r\n".encode())
        received = await raw.rest()
    statuses = [line.split()[1] for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert not statuses or statuses[0].startswith(b"4"), received
    assert not any(status.startswith((b"5", b"2")) for status in statuses[:1]), received


async def test_a_trailer_is_no_header(served: Served) -> None:
    body = call(served.url, "echo", {"text": "hi"}).partition(b"\r\n\r\n")[2]
    head = f"POST /echo/run HTTP/1.1\r\n{host(served.url)}Content-Type: application/json\r\n"
    trailers = "Host: evil.example\r\nX-Request-ID: smuggled\r\n"
    async with wire(served.url) as raw:
        sent = f'{head}Transfer-Encoding: chunked\r\n\r\nd\r\n{{"text":"hi"}}\r\n0\r\n{trailers}\r\n'
        await raw.send(sent.encode())
        status, answer = await raw.answer()
    assert status == 200 and b"hi" in answer and body


async def test_a_request_to_upgrade_to_what_we_do_not_speak_is_served_and_ends_the_connection(
    served: Served,
) -> None:
    async with wire(served.url) as raw:
        head = f"GET /status HTTP/1.1\r\n{host(served.url)}Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        await raw.send(head.encode() + SMUGGLED.encode())
        received = await raw.rest()
    assert received.startswith(b"HTTP/1.1 200 ") and received.count(b"HTTP/1.1 ") == 1

"""The proxies of docs/operations.md, as they stand there, between real clients and a real server."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from access.conftest import bearer, create_key
from clients import START_LIMIT, Served, serve, until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from postgresql import free_port
from surfaces.conftest import WRAPPERS, wrapper
from websockets.asyncio.client import connect

pytestmark = pytest.mark.anyio

NAME = "tools.example.com"
DOCS = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
PROGRAMS = ("nginx", "caddy")
PATHS = "".join(
    f"{kind}_temp_path here/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for the name, and its key."""
    place, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (place / "pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (place / "key").write_bytes(key.private_bytes(pem, kind, serialization.NoEncryption()))
    return place


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """Where each proxy listens in place of 443, which a client need not name."""
    return {program: free_port() for program in PROGRAMS}


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, ports: dict[str, int]) -> AsyncIterator[Served]:
    """A server as the page starts it, with a key."""
    folder, state = tmp_path_factory.mktemp("pipelines"), tmp_path_factory.mktemp("state")
    (folder.parent / "only.key").write_text(create_key(state, "only"))
    for name in ("echo", "steps"):
        (folder / name).mkdir()
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(WRAPPERS[name]))
    names = ",".join([NAME, *(f"{NAME}:{port}" for port in ports.values())])
    flags = ("--allowed-hosts", names, "--trusted-proxies", "127.0.0.1", "--rate-per-second", "0")
    async with serve(folder, *flags, state=state) as running:
        yield running


def configuration(program: str, served: Served, certificate: Path, port: int) -> str:
    """The recipe with this server, certificate and port in it."""
    (recipe,) = re.findall(rf"```{program}\n(.*?)```", DOCS, re.DOTALL)
    recipe = recipe.replace("127.0.0.1:1416", served.url.removeprefix("http://"))
    if program == "caddy":
        tls = f"{{\n    tls {certificate}/pem {certificate}/key\n"
        return "{\nadmin off\nauto_https off\n}\n" + recipe.replace(f"{NAME} {{\n", f"{NAME}:{port} {tls}")
    recipe = recipe.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    recipe = re.sub(r"/etc/ssl/\S+\.(pem|key)", rf"{certificate}/\1", recipe)
    paths = PATHS.replace("here", str(certificate))
    return f"pid {certificate}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\n{recipe}\n}}\n"


@contextmanager
def proxy(program: str, served: Served, certificate: Path, port: int) -> Iterator[None]:
    """Run it until the block ends."""
    found = shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin")
    if found is None:
        pytest.skip(f"PROXY NOT TESTED: {program} is not installed")
    file = certificate / program
    file.write_text(configuration(program, served, certificate, port))
    nginx = [found, "-c", str(file), "-e", "stderr", "-g", "daemon off; master_process off;"]
    words = nginx if program == "nginx" else [found, "run", "--config", str(file), "--adapter", "caddyfile"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, env={"HOME": str(certificate)})
    try:
        yield
    finally:
        process.kill()
        process.wait(30)


class ByName(httpx2.AsyncHTTPTransport):
    """Reaches the proxy on this machine, and calls it by its name."""

    def __init__(self, trust: ssl.SSLContext, port: int) -> None:
        super().__init__(verify=trust)
        self._port = port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Host"] = NAME
        request.extensions |= {"sni_hostname": NAME}
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_clients_reach_the_server_through_the_proxy(
    program: str, served: Served, certificate: Path, ports: dict[str, int]
) -> None:
    port = ports[program]
    trust = ssl.create_default_context(cafile=str(certificate / "pem"))
    key = bearer((served.folder.parent / "only.key").read_text())
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(anyio.current_time())

    with proxy(program, served, certificate, port), anyio.fail_after(2 * START_LIMIT):
        transport = ByName(trust, port)
        async with httpx2.AsyncClient(transport=transport, headers=key, timeout=60) as http:

            async def up() -> bool:
                try:
                    answer = await http.get(f"https://{NAME}/status")
                except httpx2.TransportError:
                    return False
                return answer.status_code == 200 and len(answer.json()["pipelines"]) == 2

            await until(up, START_LIMIT)
            for mode in ("auto", "legacy"):
                heard.clear()
                target = streamable_http_client(f"https://{NAME}/mcp", http_client=http)
                async with Client(target, mode=mode) as client:  # type: ignore[arg-type]
                    said = await client.call_tool("echo", {"text": "hi"})
                    assert said.structured_content == {"result": "hi"}
                    done = await client.call_tool("steps", {"count": 100}, progress_callback=hear)
                    assert done.structured_content == {"result": 100}
                assert len(heard) == 100 and heard[50] - heard[0] > 0.2, "reports come while it works"
            async with http.stream("GET", f"https://{NAME}/sse") as stream:
                assert await anext(stream.aiter_lines()) == "event: endpoint"
            large = await http.post(f"https://{NAME}/echo/run", json={"text": "x" * 900_000})
            assert large.status_code == 200
        url = f"wss://{NAME}:{port}/step/none/stream"
        async with connect(
            url, host="127.0.0.1", port=port, ssl=trust, proxy=None, additional_headers=key
        ) as socket:
            message: Any = json.loads(await socket.recv())
            assert message["error"] == "pipeline_not_found"

"""Webhooks against a real receiver: what is told, signed, tried again, resumed and logged."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients import serve, until
from runs.conftest import attended

from mcp_server import Settings
from mcp_server.errors import Unusable
from mcp_server.models import Caller, Run
from mcp_server.server import Server
from mcp_server.settings import given
from mcp_server.store.history import History
from mcp_server.store.outbox import Outbox
from mcp_server.webhooks import OPEN, Webhooks

pytestmark = pytest.mark.anyio
LIMIT = 30.0
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
EVENTS = ("on_deploy", "on_undeploy", "on_error", "on_run")
GOOD = (
    "class PipelineWrapper:\n    def run_api(self, text: str) -> str:\n        'Says.'\n        return text\n"
)
BAD = "class PipelineWrapper:\n    def run_api(self):\n        'Fails.'\n        raise OSError('secret')\n"


@dataclass
class Receiver:
    """An HTTP server that answers as it is told, by status in order and then 204; a status of 0 hangs."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    async def receives(self, number: int) -> None:
        async def there() -> bool:
            return len(self.got) >= number

        await until(there, LIMIT)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
            headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in head)}
            self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
            status = self.answers.pop(0) if self.answers else 204
            if status == 0:
                await reader.read()  # until the client gives up
            more = f"Location: {self.url}/elsewhere\r\n" if status == 302 else ""
            text = f"HTTP/1.1 {status} Said\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(text.encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving(*answers: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=list(answers))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()


def settings(state: Path, receiver: Receiver, *events: str, **more: Any) -> Settings:
    urls = {event: f"{receiver.url}/{event}?token=hidden" for event in events or EVENTS}
    return Settings(state=state, engine="local", webhooks=urls, webhook_secret=SECRET, **more)  # pyright: ignore


@asynccontextmanager
async def telling(
    settings: Settings, waits: tuple[float, ...] = (0.01, 0.01, 0.01), patience: float = LIMIT
) -> AsyncIterator[tuple[Webhooks, Outbox]]:
    async with History(settings.database()) as history:
        outbox = Outbox(history)
        async with Webhooks(settings, outbox, waits, patience) as webhooks:
            yield webhooks, outbox


def ended(number: int = 1) -> Run:
    return Run(id=f"run-{number}", pipeline="say", version=2, digest="", inputs={}, timeout=1, status="done")


async def arrives(outbox: Outbox, status: str, number: int = 1) -> None:
    async def there() -> bool:
        return len(await outbox.listed(None, status, 50, None)) >= number

    await until(there, LIMIT)


async def test_it_tells_of_deploys_runs_errors_and_undeploys_without_their_contents(tmp_path: Path) -> None:
    async with receiving() as receiver, Server(settings(tmp_path, receiver)) as server:
        await server.catalog.deploy("say", {"pipeline_wrapper.py": GOOD})
        await receiver.receives(1)
        await attended(server, Caller(), "say", {"text": "private"})
        await receiver.receives(2)
        await server.catalog.deploy("say", {"pipeline_wrapper.py": BAD}, overwrite=True)
        await receiver.receives(3)
        run = await attended(server, Caller(), "say", {})
        await receiver.receives(5)
        await server.catalog.undeploy("say")
        await receiver.receives(6)
    told = [(body["event"], body["status"], body["version"], "run_id" in body) for body in receiver.bodies]
    assert told[:3] == [
        ("on_deploy", "running", "1", False),
        ("on_run", "done", "1", True),
        ("on_deploy", "running", "2", False),
    ]
    assert sorted(told[3:5]) == [("on_error", "failed", "2", True), ("on_run", "failed", "2", True)]
    assert told[5] == ("on_undeploy", "undeployed", "2", False)
    assert {body.get("run_id") for body in receiver.bodies[3:5]} == {run.id}
    text = b"".join(body for _, body in receiver.got)
    assert b"private" not in text and b"secret" not in text


async def test_the_signature_is_that_of_the_specification_at_each_attempt(tmp_path: Path) -> None:
    async with receiving(500) as receiver, telling(settings(tmp_path, receiver)) as (webhooks, outbox):
        webhooks.run_ended(ended())
        await arrives(outbox, "delivered")
    (first, body), (second, again) = receiver.got
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    for headers, posted in receiver.got:
        assert abs(time.time() - int(headers["webhook-timestamp"])) < LIMIT
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + posted
        expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert headers["content-type"] == "application/json"


async def test_without_a_secret_nothing_is_signed(tmp_path: Path) -> None:
    async with receiving() as receiver:
        unsigned = Settings(state=tmp_path, webhooks={"on_run": receiver.url}, webhook_secret=None)
        async with telling(unsigned) as (webhooks, outbox):
            webhooks.run_ended(ended())
            await arrives(outbox, "delivered")
    assert "webhook-id" in receiver.got[0][0] and "webhook-signature" not in receiver.got[0][0]


async def test_a_target_that_fails_hangs_and_comes_back_is_told_in_the_end(tmp_path: Path) -> None:
    async with receiving(503, 0, 302) as receiver:
        chosen = settings(tmp_path, receiver, "on_run")
        async with telling(chosen, patience=0.5) as (webhooks, outbox):
            webhooks.run_ended(ended())
            await arrives(outbox, "delivered")
            (delivery,) = await outbox.listed(None, None, 50, None)
            assert (delivery.attempts, delivery.code, delivery.error) == (4, 204, None)
            assert delivery.target == receiver.url and "hidden" not in str(delivery)
            assert (webhooks.failing, webhooks.failed) == (0, 0)
    assert len(receiver.got) == 4  # nothing was sent to where the redirect led


async def test_what_never_arrives_is_given_up_and_logged(tmp_path: Path) -> None:
    closed = Receiver(url="http://127.0.0.1:9")
    chosen = settings(tmp_path, closed, "on_run")
    async with telling(chosen, (0.01, LIMIT)) as (webhooks, outbox):
        webhooks.run_ended(ended())

        async def failing() -> bool:
            return webhooks.failing == 1

        await until(failing, LIMIT)
    async with telling(chosen, (0.01,)) as (webhooks, outbox):
        await arrives(outbox, "failed")
        (delivery,) = await outbox.listed(None, None, 50, None)
        assert (delivery.attempts, delivery.code, delivery.error) == (2, None, "ConnectError")
        assert webhooks.failed == 1


async def test_the_next_server_goes_on_with_what_is_pending(tmp_path: Path) -> None:
    async with receiving(500) as receiver:
        chosen = settings(tmp_path, receiver, "on_run")
        async with telling(chosen, (LIMIT,)) as (webhooks, outbox):
            webhooks.run_ended(ended())
            await receiver.receives(1)
        async with telling(chosen) as (_, outbox):
            await arrives(outbox, "delivered")
    (first, body), (second, again) = receiver.got
    assert (first["webhook-id"], body) == (second["webhook-id"], again)


async def test_an_event_that_is_no_longer_configured_is_not_resumed(tmp_path: Path) -> None:
    async with receiving(500) as receiver:
        async with telling(settings(tmp_path, receiver, "on_run"), (LIMIT,)) as (webhooks, outbox):
            webhooks.run_ended(ended())
            await receiver.receives(1)
        async with telling(settings(tmp_path, receiver, "on_error")) as (_, outbox):
            await arrives(outbox, "failed")
    assert len(receiver.got) == 1


async def test_too_many_on_their_way_are_dropped_and_counted(tmp_path: Path) -> None:
    async with (
        receiving(*[0] * OPEN) as receiver,
        telling(settings(tmp_path, receiver, "on_run")) as (webhooks, outbox),
    ):
        for number in range(OPEN + 5):
            webhooks.run_ended(ended(number))
        assert webhooks.dropped == 5
        page = await outbox.listed("on_run", "pending", 2, None)
        older = await outbox.listed("on_run", "pending", 2, page[-1].id)
        assert len({each.id for each in (*page, *older)}) == 4 and page[1].id > older[0].id


async def test_a_dead_target_delays_no_call_and_shows_in_the_status(tmp_path: Path) -> None:
    folder = tmp_path / "pipelines"
    (folder / "say").mkdir(parents=True)
    (folder / "say" / "pipeline_wrapper.py").write_text(GOOD)

    async def median(*flags: str) -> float:
        async with serve(folder, *flags) as served, served.client() as client:
            taken: list[float] = []
            for _ in range(60):
                began = time.perf_counter()
                await client.call_tool("say", {"text": "x"})
                taken.append(time.perf_counter() - began)
            if flags:
                async with httpx.AsyncClient(trust_env=False) as reader:

                    async def shows() -> bool:
                        status = (await reader.get(f"{served.url}/status")).json()
                        return "webhooks" in status and status["webhooks"]["failing"] > 0

                    await until(shows, LIMIT)
                listed = (await client.call_tool("list_deliveries", {"limit": 3})).structured_content or {}
                assert len(listed["deliveries"]) == 3 and listed["next_cursor"]
                assert listed["deliveries"][0]["event"] == "on_run"
                log = served.log.read_text()
                assert "INFO" in log and SECRET not in log and "hidden" not in log
            return statistics.median(taken)

    async with receiving(*[500] * 4, *[0] * 1000) as hanging:
        urls = json.dumps({"on_run": f"{hanging.url}/?token=hidden"})
        flags = ("--webhooks", urls, "--webhook-secret", SECRET, "--log-level", "info")
        plain, told = await median(), await median(*flags)
    print(f"median {plain * 1000:.1f} ms without, {told * 1000:.1f} ms with a dead target")
    assert told < plain * 3 + 0.05


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"webhooks": '{"on_start": "http://x"}'}, "webhooks: "),
        ({"webhooks": '{"on_run": "ftp://x"}'}, "on_run is no http or https address"),
        ({"webhooks": "on_run=http://x"}, "is no JSON"),
        ({"webhook_secret": "hush"}, "must be `whsec_` and then 24 to 64 bytes in base64"),
        ({"webhook_secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
    ],
)
def test_settings_that_do_not_fit_are_refused_without_the_secret(flags: dict[str, str], reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as refused:
        given(**flags)
    assert "hush" not in str(refused.value)


def test_webhooks_are_a_table_in_the_file_and_json_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mcp-server.toml").write_text('[webhooks]\non_deploy = "https://a.example/x"\n')
    assert given().webhooks == {"on_deploy": "https://a.example/x"}
    monkeypatch.setenv("MCP_SERVER_WEBHOOKS", '{"on_run": "https://b.example"}')
    monkeypatch.setenv("MCP_SERVER_WEBHOOK_SECRET", SECRET)
    assert given().webhooks == {"on_run": "https://b.example"}
    assert SECRET not in repr(given())

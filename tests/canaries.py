"""Secrets that every server of a test run is given, and the look for them in all that a server leaves behind.

They are in its environment, as in that of a person. What has the form of a secret of the server's own (a key,
its local token, a signed token, what signs webhooks) is looked for as well. A test in whose output, folder or
servers one is found fails, unless it is marked with what it shows on purpose:
`@pytest.mark.shows("OPENAI_API_KEY")`.
"""

from __future__ import annotations

import base64
import mmap
import os
import re
import secrets
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

MARK = f"canary{secrets.token_hex(8)}"
"""How all of them begin, in no other run of the tests."""
NAMES = (
    *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "COHERE_API_KEY", "MISTRAL_API_KEY", "GOOGLE_API_KEY"),
    *("AZURE_OPENAI_API_KEY", "AZURE_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("HF_TOKEN", "GITHUB_TOKEN", "SERPERDEV_API_KEY", "QDRANT_API_KEY", "LANGFUSE_SECRET_KEY"),
    *("GROQ_API_KEY", "PINECONE_API_KEY", "WEAVIATE_API_KEY", "STRIPE_SECRET_KEY", "SLACK_BOT_TOKEN"),
    *("PGPASSWORD", "MYSQL_PWD", "REDIS_PASSWORD", "SMTP_PASSWORD", "SECRET_KEY", "JWT_SECRET"),
    *("ELASTIC_PASSWORD", "OPENSEARCH_PASSWORD", "TWINE_PASSWORD"),
)
SECRETS = {name: f"{MARK}{secrets.token_hex(8)}" for name in (*NAMES, "a database's password")}
"""By the name of the variable, or what they are else."""
PASSWORD = SECRETS["a database's password"]
FORMS = {
    "an API key": rb"mcp_(?!local_)[a-z0-9]+_[\w-]{43}",
    "a local token": rb"mcp_local_[\w-]{43}",
    "a signed token": rb"eyJ[\w-]{16,}\.eyJ[\w-]{16,}\.[\w-]{16,}",
    "a key that signs webhooks": rb"whsec_[A-Za-z0-9+/]{32,}",
}
ENVIRONMENT = {
    **{name: SECRETS[name] for name in NAMES},
    "DATABASE_URL": f"postgresql://someone:{PASSWORD}@127.0.0.1:9/none",
    "MCP_SERVER_WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
}
KEPT = {"token": {"a local token"}}
"""Files that hold a secret for the server's own user."""


class Canaries:
    """What was found since the last test: the names of secrets and where they are, never a secret."""

    def __init__(self) -> None:
        self._found: set[tuple[str, str]] = set()

    def look(self, said: str | bytes, where: object) -> None:
        """Look in what was said."""
        data = said.encode(errors="replace") if isinstance(said, str) else said
        self._found |= {(name, str(where)) for name in names(data)}

    def look_in(self, place: Path) -> None:
        """Look in a file, or in every file of a folder."""
        for path in files(place):
            with suppress(OSError), path.open("rb") as file:
                if os.fstat(file.fileno()).st_size:
                    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                        found = names(data) - KEPT.get(path.name, set())
                    self._found |= {(name, str(path)) for name in found}

    def taken(self) -> set[tuple[str, str]]:
        """What was found, once."""
        found, self._found = self._found, set()
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A test fails at its very end for what was found in what it leaves."""
        report = yield
        if call.when == "teardown":
            for title, text in report.sections:
                self.look(text, title)
            if isinstance(place := item.funcargs.get("tmp_path"), Path):
                self.look_in(place)
            shown = {name for mark in item.iter_markers("shows") for name in mark.args}
            if lines := [f"{name} is in {where}" for name, where in self.taken() if name not in shown]:
                report.outcome, report.sections = "failed", []
                report.longrepr = "\n".join(("A secret got out:", *sorted(lines)))
        return report


CANARIES = Canaries()


def names(data: bytes | mmap.mmap) -> set[str]:
    """The names of the secrets that are in it."""
    found = {name for name, form in FORMS.items() if re.search(form, data)}  # one by one: 20 times as fast
    if marked := set(re.findall(MARK.encode() + rb"\w{,16}", data)):
        known = {value.encode(): name for name, value in SECRETS.items()}
        found |= {known.get(each, "a part of a secret") for each in marked}
    return found


def files(place: Path) -> Iterator[Path]:
    """The regular files at a place."""
    if place.is_file():
        yield place
    for folder, _, inside in os.walk(place):
        yield from (path for name in inside if (path := Path(folder, name)).is_file())

"""`mcp-server keys …`: who may call over a network. Works on the state itself, with or without a server."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import click

from ..errors import Unusable
from ..models import Json
from ..settings import Settings, given
from . import printing
from .groups import group
from .remote import Failed, dumped, json_option

if TYPE_CHECKING:
    from ..store.key_rows import Keys

NAME = re.compile(r"[\w.@-][\w.@ -]{0,63}")
UNITS = {"m": 60, "h": 3600, "d": 86_400}
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ONCE = "This is the only time it is shown."
keys = group("keys", "Create, list, revoke, rotate and delete API keys.")


def kept(command: Callable[..., Json], show: Callable[[Json], None]) -> Callable[..., None]:
    """Make a command of a function that changes the keys of a state: its answer is shown or dumped."""

    @wraps(command)
    def made(*, folder: str | None, state: str | None, store: str | None, as_json: bool, **more: Any) -> None:
        settings = given(folder=folder, state=state, store=store)
        if told := unmeant(settings):
            click.echo(told, err=True)
        with opened(settings) as rows:
            answer = command(rows, **more)
        click.echo(dumped(answer)) if as_json else show(answer)

    command_made: Callable[..., None] = made
    for option in (
        click.option("--store", metavar="TEXT", help="The database, if the server was told."),
        click.option("--state", metavar="TEXT", help="Where the server keeps its own files, if it was told."),
        click.option("--folder", metavar="FOLDER", help="The server's folder. Default: the current one."),
        json_option,
    ):
        command_made = option(command_made)
    return command_made


def unmeant(settings: Settings) -> str | None:
    """What to say to who names no server if some run, and none of them has these keys; else None."""
    from . import whereabouts

    if settings.folder or settings.state or settings.store:
        return None
    servers, state = whereabouts.running(), settings.state_folder()
    if not servers or any(each.state == state for each in servers):
        return None
    listed = ", ".join(f"{each.url} ({each.folder})" for each in servers)
    return f"No running server takes these keys, the current folder's; --folder names another: {listed}."


@contextmanager
def opened(settings: Settings) -> Generator[Keys]:
    """The keys of a server, wherever it keeps them."""
    from ..store.key_rows import Keys  # SQLAlchemy would slow down `--help` and every refusal

    rows = Keys(settings.database())
    try:
        yield rows
    finally:
        rows.close()


def created(answer: Json) -> None:
    """A new key, with its secret."""
    click.echo(answer["key"])
    click.echo(ONCE, err=True)


def listed(answer: Json) -> None:
    """All keys."""
    columns = ("NAME", "ID", "SCOPES", "RATE", "CREATED", "EXPIRES", "STATE")
    rows = (
        (
            key["name"],
            key["id"],
            " ".join(key["scopes"]),
            rate(key),
            printing.ago(key["created"]),
            key.get("expires", "never")[:10],
            key["state"],
        )
        for key in answer["keys"]
    )
    printing.table(columns, rows)


def rate(key: Json) -> str:
    """What a key may ask for, in short."""
    known = (("per_second", "s"), ("per_hour", "h"))
    return " ".join(f"{key[name]:g}/{unit}" for name, unit in known if name in key) or "default"


def revoked(answer: Json) -> None:
    """That it is no good any more."""
    click.echo(f"The key {answer['name']} is revoked.")


def deleted(answer: Json) -> None:
    """That it is forgotten, and what this means if it was the last one."""
    click.echo(f"The key {answer['name']} is deleted.")
    if not answer["left"]:
        click.echo("There is no key any more: on its own machine the server asks for none.")


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="read, run, deploy, admin; else run.")
@click.option("--pipeline", "pipelines", multiple=True, metavar="NAME", help="Only run this one. Repeat it.")
@click.option("--per-second", type=click.FloatRange(min=0, min_open=True), help="Requests a second.")
@click.option("--per-hour", type=click.IntRange(min=1), help="Requests an hour.")
@click.option("--expires", metavar="TIME", help="How long it is good for: 30m, 12h, 90d. Default: for ever.")
@partial(kept, show=created)
def create(
    rows: Keys,
    name: str,
    scopes: tuple[str, ...],
    pipelines: tuple[str, ...],
    per_second: float | None,
    per_hour: int | None,
    expires: str | None,
) -> Json:
    """Create a key, and show it once.

    NAME says whose it is. The state keeps a hash of it; running servers know it at once.
    """
    from ..access.keyring import new_secret
    from ..store.keys import Key

    if not NAME.fullmatch(name):
        raise Unusable("a key's name has 1 to 64 letters, digits, blanks or .@_-")
    secret, digest = new_secret()
    now = time.time()
    key = Key(
        id="".join(secrets.choice(ALPHABET) for _ in range(12)),
        name=name,
        digest=digest,
        scopes=wanted(scopes, pipelines),
        per_second=per_second,
        per_hour=per_hour,
        created=now,
        changed=now,
        expires=None if expires is None else now + seconds(expires),
    )
    rows.add(key)
    return shown(key) | {"key": whole(key.id, secret)}


@keys.command("list")
@partial(kept, show=listed)
def list_(rows: Keys) -> Json:
    """List the keys, without their secrets."""
    return {"keys": [shown(key) for key in rows.all()]}


@keys.command()
@click.argument("name")
@partial(kept, show=revoked)
def revoke(rows: Keys, name: str) -> Json:
    """Make a key useless for good.

    NAME is its name or its id. Running servers refuse it within a second. What it ran stays.
    """
    return shown(rows.change(name, revoked=time.time()))


@keys.command()
@click.argument("name")
@partial(kept, show=created)
def rotate(rows: Keys, name: str) -> Json:
    """Give a key a new secret, and show it once.

    NAME is its name or its id. The old secret is useless at once; runs stay with the key. A revoked key
    cannot be rotated.
    """
    from ..access.keyring import new_secret

    if any(name in (key.name, key.id) and key.revoked for key in rows.all()):
        raise Failed(f"the key {name} is revoked; create another one")
    secret, digest = new_secret()
    key = rows.change(name, digest=digest)
    return shown(key) | {"key": whole(key.id, secret)}


@keys.command()
@click.argument("name")
@partial(kept, show=deleted)
def delete(rows: Keys, name: str) -> Json:
    """Forget a key that was revoked or has expired.

    NAME is its name or its id. What it ran belongs to nobody then. A server on its own machine that has no
    other key needs none again.
    """
    return shown(rows.delete(name)) | {"left": len(rows.all())}


def wanted(scopes: tuple[str, ...], pipelines: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes to keep. Raises `Invalid` for what is none, `Unusable` for those that know no pipeline."""
    from ..access.scopes import granted

    given_scopes = scopes or ("run",)
    if pipelines and not set(given_scopes) <= {"run"}:
        raise Unusable("--pipeline limits the scope run only; read, deploy and admin are for all pipelines")
    chosen = tuple(f"run:{name}" for name in pipelines) or given_scopes
    granted(chosen)
    return tuple(dict.fromkeys(chosen))


def seconds(text: str) -> float:
    """A time such as 90d, in seconds. Raises `Unusable`."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if not found or not int(found[1]):
        raise Unusable(f"--expires {text!a} is no time; it is like 30m, 12h or 90d")
    return float(int(found[1]) * UNITS[found[2]])


def whole(identity: str, secret: str) -> str:
    """The key as its holder sends it."""
    from ..access.keyring import PREFIX

    return f"{PREFIX}_{identity}_{secret}"


def shown(key: Any) -> Json:
    """A key as it is listed: nothing of its secret."""
    known = key.model_dump(include={"name", "id", "scopes", "per_second", "per_hour"}, exclude_none=True)
    state = "revoked" if key.revoked else "active" if key.serves else "expired"
    about = {"state": state, "created": moment(key.created)}
    return known | about | ({"expires": moment(key.expires)} if key.expires else {})


def moment(stamp: float) -> str:
    """A time in UTC to the second (ISO 8601)."""
    return datetime.fromtimestamp(stamp, UTC).isoformat(timespec="seconds")

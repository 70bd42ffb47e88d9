"""What a person may set, in rising order: defaults, Hayhooks' variables, `mcp-server.toml`, `.env`,
environment, flags.

Every setting is spelled the same everywhere: `call_timeout` in the file, `MCP_SERVER_CALL_TIMEOUT` in the
environment and in `.env`, `--call-timeout` on the command line. The file and `.env` are read from the
working directory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .errors import Unusable
from .models import Limits, Recording, Webhook

FILE = Path("mcp-server.toml")
DOTENV = Path(".env")
PREFIX = "MCP_SERVER_"
LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"
HAYHOOKS = MappingProxyType(
    {
        "folder": "HAYHOOKS_PIPELINES_DIR",
        "host": "HAYHOOKS_HOST",
        "port": "HAYHOOKS_PORT",
        "python_path": "HAYHOOKS_ADDITIONAL_PYTHON_PATH",
    }
)
"""Variables of Hayhooks that are honoured, in `.env` too, where nothing else says a setting."""


class Settings(BaseSettings):
    """Read once, at the roof; each part is handed what it needs. Times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=DOTENV,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

    folder: Path | None = Field(None, description="The folder with the pipelines.")
    state: Path | None = Field(
        None,
        description="Where the server keeps its own files. Default: a place in user data, one per folder.",
    )
    store: str | None = Field(
        None,
        description="The database: `sqlite:///PATH` or `postgresql+psycopg://…`. Default: in the state.",
    )
    record: Recording = Field(
        "full",
        description="What history keeps of runs: all, `steps` (components too), `meta` (no content), `none`.",
    )
    keep_runs: int = Field(100_000, ge=0, description="Ended runs that history keeps.")
    keep_days: int = Field(30, ge=1, description="Days that history keeps ended runs.")
    keep_bytes: int = Field(
        2 * 1024 * 1024 * 1024, ge=0, description="Bytes of inputs, results and artifacts that history keeps."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(1416, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further values of the Host header to answer to, as name or name:port."
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Web pages of other origins that may call, such as https://example.com."
    )
    surfaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Ways in that are served, separated by commas, such as `mcp,status`. Default: all."
    )
    reload: bool = Field(False, description="Notice changes in the folder and serve them.")
    engine: Literal["hosts", "local"] = Field(
        "hosts", description="Where pipelines run: in worker processes, or in this one."
    )
    env: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Environment variables every pipeline may see: their names, separated by commas."
    )
    python_path: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders with modules that every pipeline can import, separated by commas."
    )
    shared_headers: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="HTTP headers that pipelines may see: their names, separated by commas."
    )
    tool_mode: Literal["auto", "direct", "search"] = Field(
        "auto", description="Whether pipelines are listed as tools, or searched; auto lists up to 20."
    )
    toolsets: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Toolsets that /mcp, /sse and stdio serve: tags, separated by commas. Default: all."
    )
    webhooks: Annotated[dict[Webhook, str] | None, NoDecode] = Field(
        None,
        description="Addresses to tell of `on_deploy`, `on_undeploy`, `on_error`, `on_run`: a table or JSON.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Signs webhooks: `whsec_`, then 24 to 64 bytes in base64."
    )
    call_timeout: float = Field(
        300.0, gt=0, description="Seconds a call may take unless its pipeline says otherwise."
    )
    soft_deadline: float = Field(
        45.0,
        gt=0,
        description="Seconds after which a call is answered with the id of its run, which goes on.",
    )
    answer_timeout: float = Field(
        900.0, gt=0, description="Seconds a run waits for the answer to a question before it goes on without."
    )
    max_timeout: float = Field(
        3600.0, gt=0, description="Longest timeout a pipeline or a caller may ask for."
    )
    idle_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds without a call after which a version out of production is unloaded.",
    )
    load_timeout: float = Field(120.0, gt=0, description="Seconds a pipeline may take to load.")
    threads: int = Field(32, ge=1, description="Threads in a host for pipelines that block.")
    text_limit: int = Field(
        80_000, ge=1024, description="Bytes of text a result may show; a longer one becomes an artifact."
    )
    inline_limit: int = Field(
        1024 * 1024,
        ge=1024,
        description="Bytes of structured content a result may have, and of images and files in it; larger "
        "ones become artifacts.",
    )
    result_limit: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        description="Bytes a result may have with its artifacts; a larger one is an error.",
    )
    partial_results: bool = Field(
        False, description="Send streamed text as partial results to clients that ask so; an experiment."
    )
    upload_limit: int = Field(100 * 1024 * 1024, ge=0, description="Bytes a form with files may have.")
    drain_timeout: float = Field(
        20.0, ge=0, description="Seconds that calls in flight get when the server stops."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="How much to log.")

    @field_validator(
        "env",
        "allowed_hosts",
        "allowed_origins",
        "python_path",
        "shared_headers",
        "surfaces",
        "toolsets",
        mode="before",
    )
    @classmethod
    def _names(cls, value: object) -> object:
        """`A,B` as a shell writes it, or a list as the file does."""
        if not isinstance(value, str):
            return value
        return [name.strip() for name in value.split(",") if name.strip()]

    @field_validator("webhooks", mode="before")
    @classmethod
    def _table(cls, value: object) -> object:
        """A table as the file has it, or JSON."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("is no JSON") from None

    @field_validator("webhooks")
    @classmethod
    def _addresses(cls, value: dict[Webhook, str] | None) -> dict[Webhook, str] | None:
        for event, url in (value or {}).items():
            place = urlsplit(url)
            if place.scheme not in ("http", "https") or not place.hostname:
                raise ValueError(f"{event} is no http or https address")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            prefix, _, key = value.get_secret_value().partition("_")
            try:
                fits = prefix == "whsec" and 24 <= len(base64.b64decode(key, validate=True)) <= 64
            except ValueError:
                fits = False
            if not fits:
                raise ValueError("must be `whsec_` and then 24 to 64 bytes in base64")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over `.env` over the file over what is set for Hayhooks."""
        below = (InitSettingsSource(settings_cls, values()) for values in (_file_values, _hayhooks_values))
        return init_settings, env_settings, dotenv_settings, *below

    def state_folder(self) -> Path:
        """Where this server keeps its own files; the same folder of pipelines always gives the same place."""
        if self.state is not None:
            return self.state.absolute()
        import platformdirs  # only needed without an explicit place

        real = (self.folder or Path.cwd()).resolve()
        key = hashlib.sha256(str(real).encode()).hexdigest()[:12]
        return Path(platformdirs.user_data_dir("mcp-server")) / f"{real.name}-{key}"

    def database(self) -> Path | str:
        """Where the store is: a file of SQLite, or the URL of another database."""
        if self.store is None:
            return self.state_folder() / "state.db"
        path = self.store.removeprefix("sqlite:///")
        return self.store if path == self.store else Path(path).absolute()

    def limits(self) -> Limits:
        """What a process that runs pipelines may use."""
        return Limits(
            threads=self.threads,
            result=self.result_limit,
            text=self.text_limit,
            inline=self.inline_limit,
            python_path=tuple(folder.absolute() for folder in self.python_path),
            log_level=self.log_level,
        )

    def variable(self, name: str) -> str | None:
        """What a pipeline gets for the variable `name`: the environment's value, else the one in `.env`.

        None if neither has it. `.env` is read at each question, so that a reload sees what was changed.
        """
        return _variable(name)


def given(**flags: Any) -> Settings:
    """Settings with the flags that were really given (not None) on top.

    Raises `Unusable`, in one line that names each faulty setting, for values that do not fit, and for a
    file that cannot be read or holds a name that is no setting.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'][:1]))}: {fault['msg']}" for fault in error.errors())
        raise Unusable("; ".join(faults)) from None
    except UnicodeDecodeError:
        raise Unusable(f"{DOTENV} is not UTF-8 text") from None


def _file_values() -> dict[str, Any]:
    """What the settings file holds; empty without a file."""
    try:
        values = tomllib.loads(FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Unusable(f"{FILE} cannot be read: {error}") from None
    for name in values:
        if name not in Settings.model_fields:
            raise Unusable(f"{FILE}: there is no setting {name!r}{_suggestion(name)}")
    return values


def _hayhooks_values() -> dict[str, Any]:
    """What is set for Hayhooks; an empty variable is none."""
    return {name: value for name, variable in HAYHOOKS.items() if (value := _variable(variable))}


def _variable(name: str) -> str | None:
    """Its value in the environment, else in `.env`."""
    return os.environ[name] if name in os.environ else dotenv_values(DOTENV).get(name)


def _suggestion(name: str) -> str:
    near = get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

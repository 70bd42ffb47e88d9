"""What a person may set, in rising order: defaults, Hayhooks' variables, `mcp-server.toml`, `.env`,
environment, flags.

Every setting is spelled the same everywhere: `call_timeout` in the file, `MCP_SERVER_CALL_TIMEOUT` in the
environment and in `.env`, `--call-timeout` on the command line. The file and `.env` are read from the
working directory.

isolating   walls around pipelines
keeping     folders, the store, history
promoting   what a version must reach
running     the engine, deadlines, sizes
limiting    calls at once, requests in a time
bounding    what clients may have of connections, sessions, bytes and time
access      who may do what
oauth       the authorization server whose tokens count
addresses   which addresses may be set
serving     the listener and the surfaces
tracking    the MLflow server behind us
section     what the sections share
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ..errors import Unusable
from ..models import Limits
from .access import Access
from .bounding import Bounding
from .isolating import Isolating
from .keeping import Keeping
from .limiting import Limiting
from .oauth import OAuth
from .promoting import Promoting
from .running import Running
from .serving import Serving
from .tracking import TrackingSettings

FILE = Path("mcp-server.toml")
DOTENV = Path(".env")
PREFIX = "MCP_SERVER_"
HAYHOOKS = MappingProxyType(
    {
        "folder": "HAYHOOKS_PIPELINES_DIR",
        "host": "HAYHOOKS_HOST",
        "port": "HAYHOOKS_PORT",
        "python_path": "HAYHOOKS_ADDITIONAL_PYTHON_PATH",
    }
)
"""Variables of Hayhooks that are honoured, in `.env` too, where nothing else says a setting."""


class Settings(
    TrackingSettings,
    Bounding,
    OAuth,
    Access,
    Limiting,
    Serving,
    Isolating,
    Running,
    Promoting,
    Keeping,
):
    """Read once, at the roof; each part is handed what it needs. Times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=DOTENV,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

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

    def uploads_folder(self) -> Path:
        """Where the files lie that come with calls, while their runs go on."""
        return self.state_folder() / "uploads"

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
            fast_pipelines=self.fast_pipelines,
            python_path=tuple(folder.absolute() for folder in self.python_path),
            otlp_endpoint=self.otlp_endpoint,
            log_level=self.log_level,
            log_format=self.log_format,
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

"""What a person may set. Rising order: defaults, `mcp-server.toml`, `.env`, environment, flags.

Every setting is spelled the same everywhere: `call_timeout` in the file, `MCP_SERVER_CALL_TIMEOUT` in the
environment, `--call-timeout` on the command line. The file and `.env` are read from the working directory.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

FILE = "mcp-server.toml"


class Settings(BaseSettings):
    """Read once, at the roof; each part is handed what it needs. Times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="MCP_SERVER_", env_file=".env", toml_file=FILE, extra="ignore", frozen=True
    )

    folder: Path | None = Field(None, description="The folder with the pipelines.")
    state: Path | None = Field(
        None, description="Where the server keeps its own files. Default: one per folder, in the user's data folder."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(1416, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    reload: bool = Field(False, description="Notice changes in the folder and serve them.")
    engine: Literal["hosts", "local"] = Field(
        "hosts", description="Where pipelines run: in worker processes, or in this one."
    )
    env: tuple[str, ...] = Field((), description="Environment variables every pipeline may see, by name.")
    call_timeout: float = Field(300.0, gt=0, description="Seconds a call may take unless its pipeline says otherwise.")
    max_timeout: float = Field(3600.0, gt=0, description="Longest timeout a pipeline or a caller may ask for.")
    load_timeout: float = Field(120.0, gt=0, description="Seconds a pipeline may take to load.")
    threads: int = Field(32, ge=1, description="Threads in a host for pipelines that block.")
    drain_timeout: float = Field(20.0, ge=0, description="Seconds that calls in flight get when the server stops.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="How much to log.")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over `.env` over the file."""
        file = TomlConfigSettingsSource(settings_cls)
        return sources["init_settings"], sources["env_settings"], sources["dotenv_settings"], file

    def state_folder(self) -> Path:
        """Where this server keeps its own files; the same folder of pipelines always gives the same place."""
        if self.state is not None:
            return self.state.absolute()
        import platformdirs  # only needed without an explicit place

        real = (self.folder or Path.cwd()).resolve()
        key = hashlib.sha256(str(real).encode()).hexdigest()[:12]
        return Path(platformdirs.user_data_dir("mcp-server")) / f"{real.name}-{key}"


def given(**flags: Any) -> Settings:
    """Settings with the flags that were really given (not None) on top."""
    return Settings(**{name: value for name, value in flags.items() if value is not None})

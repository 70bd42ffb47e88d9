"""Settings: where they may stand, which one wins, and what happens to those that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_server.errors import Unusable
from mcp_server.settings import HAYHOOKS, PREFIX, Settings, given


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
    for name in HAYHOOKS.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_flag_wins_over_the_environment_over_dotenv_over_the_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "mcp-server.toml").write_text("port = 1\nthreads = 1\nreload = true\ncall_timeout = 1\n")
    (place / ".env").write_text("MCP_SERVER_PORT=2\nMCP_SERVER_THREADS=2\nMCP_SERVER_CALL_TIMEOUT=2\n")
    monkeypatch.setenv("MCP_SERVER_PORT", "3")
    monkeypatch.setenv("MCP_SERVER_THREADS", "3")
    settings = given(port="4", threads=None)
    assert (settings.port, settings.threads, settings.call_timeout, settings.reload) == (4, 3, 2.0, True)


def test_what_is_set_for_hayhooks_wins_over_defaults_only(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / ".env").write_text("HAYHOOKS_HOST=::1\nHAYHOOKS_PORT=5\n")
    monkeypatch.setenv("HAYHOOKS_PIPELINES_DIR", "mine")
    monkeypatch.setenv("HAYHOOKS_PORT", "6")
    settings = given()
    assert (settings.folder, settings.host, settings.port) == (Path("mine"), "::1", 6)
    (place / "mcp-server.toml").write_text("port = 7")
    assert (given().port, given(folder="other").folder) == (7, Path("other"))


@pytest.mark.parametrize("text", ["A, B", "A,B,"])
def test_names_are_separated_by_commas_in_the_environment(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SERVER_ENV", text)
    assert given().env == ("A", "B")


def test_names_are_a_list_in_the_file(place: Path) -> None:
    (place / "mcp-server.toml").write_text('env = ["A", "B"]')
    assert given().env == ("A", "B")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_SERVER_PORT", "")
    assert given().port == 1416


def test_other_names_in_dotenv_are_no_settings(place: Path) -> None:
    (place / ".env").write_text("OPENAI_API_KEY=secret\nPORT=7\n")
    assert given().port == 1416


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("prot = 1", "there is no setting 'prot'; did you mean 'port'?"),
        ("[server]\nport = 1", "there is no setting 'server'"),
        ("port =", "cannot be read"),
        ("port = 70000", "port: "),
        ("engine = 'cloud'\nthreads = 0", "engine: .*; threads: "),
        ("call_timeout = inf", "call_timeout: "),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(place: Path, content: str, reason: str) -> None:
    (place / "mcp-server.toml").write_text(content)
    with pytest.raises(Unusable, match=reason):
        given()


def test_a_dotenv_that_is_not_text_is_refused(place: Path) -> None:
    (place / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Unusable, match="UTF-8"):
        given()


def test_a_pipelines_variable_comes_from_the_environment_then_from_dotenv(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / ".env").write_text("FIRST=file\nSECOND=file\n")
    monkeypatch.setenv("FIRST", "environment")
    settings = given()
    assert settings.variable("FIRST") == "environment"
    assert settings.variable("SECOND") == "file"
    assert settings.variable("THIRD") is None


def test_a_changed_dotenv_is_seen(place: Path) -> None:
    settings = given()
    (place / ".env").write_text("SECOND=new\n")
    assert settings.variable("SECOND") == "new"


def test_the_state_folder_belongs_to_the_folder_whatever_way_leads_to_it(place: Path) -> None:
    (place / "real").mkdir()
    (place / "other").mkdir()
    (place / "link").symlink_to(place / "real")
    real, link, other = (given(folder=name).state_folder() for name in ("real", "link", "other"))
    assert real == link != other
    assert real.is_absolute()


def test_a_named_state_folder_is_taken(place: Path) -> None:
    assert given(state="mine").state_folder() == place / "mine"

"""What is found in the user's folder, and how broken things show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcp_server.catalog.folder import read, scan
from mcp_server.catalog.names import RESERVED
from mcp_server.errors import NotFound, Unavailable

from .conftest import YAML, Place, wrapper

pytestmark = pytest.mark.anyio


async def test_wrappers_and_yamls_are_served_and_other_things_are_not(place: Place) -> None:
    place.pipeline("adder")
    place.write("hello.yml", YAML)
    place.write("inside/pipeline.yaml", YAML)
    place.write("compose.yml", "services: {}")
    place.write("data/notes.txt", "no pipeline")
    for skipped in ("_shared", ".hidden", "__pycache__", "node_modules"):
        place.pipeline(skipped)
    async with place.server() as server:
        assert server.tools == ["adder", "hello", "inside"]
        assert await server.add("adder", 1) == 2
        assert server.catalog.status("hello").kind == "yaml"


async def test_what_is_broken_is_told_and_the_rest_is_served(place: Place) -> None:
    place.pipeline("good")
    place.pipeline("syntax", "def (")
    place.pipeline("raises", "raise ValueError('at import')")
    place.pipeline("odd name!")
    place.pipeline("status")
    place.pipeline("twice")
    place.write("twice.yml", YAML)
    place.write("many/a.yml", YAML)
    place.write("many/b.yml", YAML)
    async with place.server() as server:
        errors = {each.name: each.error for each in server.catalog.statuses() if each.status == "error"}
        assert server.tools == ["good"]
        assert errors.keys() == {"syntax", "raises", "odd name!", "status", "twice", "many"}
        assert "pipeline_wrapper.py, line 1" in str(errors["syntax"])
        assert "at import" in str(errors["raises"])
        assert "rename" in str(errors["odd name!"])
        assert "reserved" in str(errors["status"])
        assert "twice and twice.yml" in str(errors["twice"])
        with pytest.raises(Unavailable, match="at import"):
            await server.catalog.find("raises")
        with pytest.raises(NotFound):
            await server.catalog.find("absent")


async def test_a_long_name_is_served_with_a_warning(place: Place) -> None:
    place.pipeline("n" * 41)
    async with place.server() as server:
        assert "41 characters" in server.catalog.status("n" * 41).warnings[0]


async def test_a_missing_folder_serves_nothing_and_still_takes_uploads(place: Place) -> None:
    place.folder.rmdir()
    async with place.server() as server:
        assert server.catalog.statuses() == ()
        assert (await server.deploy("adder", wrapper())).status == "running"


def test_large_and_binary_files_count_by_stamp_and_text_by_content(place: Place) -> None:
    root = place.pipeline("p").parent
    place.write("p/big.txt", "x" * (1024 * 1024 + 1))
    place.write("p/model.bin", b"\xff\xfe\x00")
    place.write("p/.env", "SECRET=1")
    place.write("p/sub/__pycache__/x.pyc", b"x")
    source = read("p", root)
    assert source.files.keys() == {"pipeline_wrapper.py"}
    assert source.others.keys() == {"big.txt", "model.bin"}
    os.utime(root / "model.bin", ns=(1, 1))
    assert read("p", root).digest != source.digest


def test_a_link_out_of_the_folder_is_never_read(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    root = place.pipeline("p").parent
    (root / "link.txt").symlink_to(secret)
    (place.folder / "away").symlink_to(place.pipeline("../elsewhere").parent)
    found = {each.name: each for each in scan(place.folder)}
    source = found["p"].source
    assert source is not None
    assert "link.txt" not in source.files
    assert found["away"].source is None
    assert "link" in str(found["away"].problem)


def test_a_source_over_eight_mebibytes_is_told(place: Place) -> None:
    place.pipeline("p")
    for number in range(9):
        place.write(f"p/{number}.txt", "x" * 1024 * 1024)
    (found,) = scan(place.folder)
    assert "8388608" in str(found.problem)


def test_a_pipe_in_the_folder_is_not_opened(place: Place) -> None:
    root = place.pipeline("p").parent
    os.mkfifo(root / "pipe.txt")
    source = read("p", root)
    assert source.files.keys() == {"pipeline_wrapper.py"}


def test_reserved_names_tell_what_they_are_reserved_for() -> None:
    assert {"mcp", "status", "v1", "chat", "models", "health", "step", "mlflow"} <= RESERVED.keys()
    assert "management" in RESERVED["deploy_pipeline"]


async def test_a_name_that_is_no_text_does_not_stop_the_server(place: Place) -> None:
    place.pipeline("good")
    odd = b"odd\xff"
    place.pipeline(os.fsdecode(odd))
    async with place.server() as server:
        assert server.tools == ["good"]
        assert [each.status for each in server.catalog.statuses()] == ["running", "error"]
        server.catalog.statuses()[1].model_dump_json()

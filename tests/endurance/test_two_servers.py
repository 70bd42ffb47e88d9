"""Two servers on one state: that one of them ends takes nothing from the other."""

from __future__ import annotations

from pathlib import Path

from .lives import Lives
from .picture import adder, called, check_sound, finished, settled


def test_what_a_server_acknowledged_survives_its_death_after_another_one_on_the_state_ended(
    lives: Lives, tmp_path: Path
) -> None:
    """The one that ends must not take the log away that the other writes to (POSIX locks, SQLite's WAL)."""
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    folder.mkdir()
    first = lives.begin(folder, state)
    first.tool("deploy_pipeline", name="adder", files=adder(1))
    second = lives.begin(folder, state)
    settled(second)
    assert second.run("adder", number=1) == 2
    second.stop()
    first.tool("deploy_pipeline", name="adder", files=adder(2), overwrite=True)
    run = first.tool("start_run", name="adder", arguments={"number": 1})["run_id"]
    finished(first)
    first.kill()
    check_sound(state)
    third = lives.begin(folder, state)
    settled(third)
    assert third.run("adder", number=1) == 3
    assert called(third, run)[2:4] == ("done", {"result": 3})
    third.kill()

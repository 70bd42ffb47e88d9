"""Files of the state that were damaged meanwhile: what serves is what was deployed, or nothing does."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from .lives import Lives, Refused
from .picture import adder, settled

MUTATIONS = (10, 2000)
"""Of the short form, and of the long one."""


def damage(path: Path, chance: random.Random) -> str:
    """Flip a bit, or cut the file."""
    content = bytearray(path.read_bytes())
    if chance.random() < 0.3 or not content:
        path.write_bytes(content[: chance.randrange(len(content) + 1)])
        return f"{path.name} cut"
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"{path.name} changed at {place}"


def test_a_damaged_state_never_serves_what_nobody_deployed(lives: Lives, tmp_path: Path, long: bool) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    folder.mkdir()
    life = lives.begin(folder, state)
    for name, adds in (("one", 1), ("two", 2), ("two", 3)):
        life.tool("deploy_pipeline", name=name, files=adder(adds), overwrite=True)
    life.tool("set_stage", name="two", version="1", stage="production")
    known = {"one": {}, "two": {}}
    for name, adds in (("one", (1,)), ("two", (2, 3))):
        listed = life.tool("list_versions", name=name)["versions"]
        digests = {each["version"]: each["digest"] for each in listed}
        known[name] = {digests[str(place + 1)]: number for place, number in enumerate(adds)}
    life.stop()
    chance = random.Random(29)
    outcomes = {"serves": 0, "does not serve": 0, "does not start": 0}
    for number in range(MUTATIONS[long]):
        copy = Path(shutil.copytree(state, tmp_path / "copy"))
        sources = [path for path in (copy / "sources").rglob("*") if path.is_file()]
        done = damage(copy / "state.db" if number % 3 == 0 else chance.choice(sources), chance)
        outcomes[looked_at(lives, folder, copy, known, done)] += 1
        shutil.rmtree(copy)
    print(f"{MUTATIONS[long]} mutations: {outcomes}")


def looked_at(lives: Lives, folder: Path, state: Path, known: dict[str, dict[str, int]], done: str) -> str:
    """What a server makes of a damaged state."""
    try:
        life = lives.begin(folder, state)
    except AssertionError as refused:
        assert "Traceback" not in str(refused), (done, refused)
        return "does not start"
    try:
        serving = [each for each in settled(life, empty=True) if each["status"] == "running"]
        for each in serving:
            assert life.run(each["name"], number=0) == known[each["name"]][each["digest"]], done
        return "serves" if len(serving) == 2 else "does not serve"
    except Refused as refusal:
        assert str(state) not in str(refusal) and "Traceback" not in str(refusal), (done, refusal)
        return "does not serve"
    finally:
        life.kill()

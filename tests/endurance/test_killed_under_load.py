"""The program killed again and again while clients change things: what they were told is still there."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Protocol

import httpx

from .lives import LIMIT, RUN, Life, Lives
from .picture import ARTICLE, adder, called, check_sound, settled

READY = 30.0
"""Seconds until a server that was killed answers a call again; a quiet machine needs less than 3."""


class Client(Protocol):
    """Does one thing after the other, and knows what it was told."""

    def act(self, life: Life) -> None:
        """The next thing. Raises `httpx.TransportError` when the server dies."""
        ...

    def check(self, life: Life) -> None:
        """Nothing it was told was lost, nothing is torn."""
        ...


class Deployer:
    """Replaces a pipeline."""

    known = tried = 1

    def act(self, life: Life) -> None:
        self.tried = self.known + 1
        life.tool("deploy_pipeline", name="deployed", files=adder(self.tried), overwrite=True)
        self.known = self.tried

    def check(self, life: Life) -> None:
        found = life.run("deployed", number=0)
        assert found in (self.known, self.tried)
        self.known = found


class Stager:
    """Promotes one of two versions, back and forth."""

    known = tried = "2"

    def act(self, life: Life) -> None:
        self.tried = "1" if self.known == "2" else "2"
        life.tool("set_stage", name="staged", version=self.tried, stage="production")
        self.known = self.tried

    def check(self, life: Life) -> None:
        stages = {
            each["stage"]: each["version"] for each in life.tool("list_versions", name="staged")["versions"]
        }
        assert stages["production"] in (self.known, self.tried)
        self.known = stages["production"]
        assert life.run("staged", number=0) == int(self.known)


class Undeployer:
    """Undeploys a pipeline and deploys it again."""

    known = tried = True

    def act(self, life: Life) -> None:
        self.tried = not self.known
        if self.tried:
            life.tool("deploy_pipeline", name="rested", files={})
        else:
            life.tool("undeploy_pipeline", pipeline_name="rested")
        self.known = self.tried

    def check(self, life: Life) -> None:
        found = "rested" in {each["name"] for each in settled(life) if each["status"] == "running"}
        assert found in (self.known, self.tried)
        self.known = found


class Starter:
    """Begins runs that go on by themselves."""

    def __init__(self) -> None:
        self._runs: dict[str, int] = {}

    def act(self, life: Life) -> None:
        number = len(self._runs)
        begun = life.tool("start_run", name="adder", arguments={"number": number})
        self._runs[begun["run_id"]] = number

    def check(self, life: Life) -> None:
        """All of them, those of earlier servers too, are there; what went on when it died says so."""
        for run, number in self._runs.items():
            _, _, status, result, error = called(life, run)
            assert (status, result) == ("done", {"result": number + 1}) or (status, error) == (
                "failed",
                "interrupted",
            )


class Repeater:
    """Calls with idempotency keys, each once more after every kill."""

    def __init__(self) -> None:
        self._next = 0
        self._runs: dict[int, str] = {}

    def act(self, life: Life) -> None:
        number, self._next = self._next, self._next + 1
        self._runs[number] = self._call(life, number)

    def check(self, life: Life) -> None:
        assert {number: self._call(life, number) for number in self._runs} == self._runs

    def _call(self, life: Life, number: int) -> str:
        arguments = {"name": "adder", "arguments": {"number": number}}
        result = life.called("run_pipeline", arguments, key=f"number {number}")
        assert result["structuredContent"] == {"result": number + 1}
        return result["_meta"][RUN]["id"]


class Walker:
    """Goes through step-wise runs."""

    stands = (
        ("INITIALIZING", "angles"),
        ("PAUSED", "angles"),
        ("PAUSED", "outline"),
        ("PAUSED", "outline"),
        ("COMPLETED", None),
    )
    """Status and current step after each move."""

    def __init__(self) -> None:
        self._run = ""
        self._known = self._tried = len(self.stands) - 1

    def act(self, life: Life) -> None:
        self._tried = (self._known + 1) % len(self.stands)
        if self._tried == 0:
            body = {"pipeline_path": "article", "user_inputs": {"topic": "tea"}}
            self._run = life.http.post("/pipeline/start", json=body).json()["pipeline_run_id"]
        elif self._tried % 2:
            life.tool("execute_step", run_id=self._run)
        else:
            life.tool("select_response", run_id=self._run, response_ids=[f"resp-{self._tried - 1:03d}"])
        self._known = self._tried

    def check(self, life: Life) -> None:
        """The move that was interrupted is done, or not; a step that was begun is continued."""
        if not self._run:
            return
        until = time.monotonic() + LIMIT
        while (shown := life.http.get(f"/pipeline/{self._run}/status").json())["status"] == "RUNNING":
            assert time.monotonic() < until, "a step goes on and on"
            time.sleep(0.05)
        found = (shown["status"], shown["current_step"])
        possible = {self._known, self._tried if self._tried else self._known}
        assert found in {self.stands[move] for move in possible}
        held = life.tool("list_artifacts", run_id=self._run)["artifacts"]
        chosen = sum(each["selected_for_next"] for each in held)
        self._known = len(held) // 2 + chosen
        assert self._known in possible and len(held) % 2 == 0


def test_what_clients_were_told_is_there_after_each_kill(lives: Lives, tmp_path: Path, long: bool) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    folder.mkdir()
    (folder / "article.yml").write_text(ARTICLE)
    life = lives.start(folder, state)
    for name, adds in (("adder", 1), ("deployed", 1), ("staged", 1), ("staged", 2), ("rested", 1)):
        life.tool("deploy_pipeline", name=name, files=adder(adds), overwrite=True)
    clients: list[Client] = [Deployer(), Stager(), Undeployer(), Starter(), Repeater(), Walker()]
    done = 0
    waits: list[float] = []
    for _ in range(50 if long else 3):
        done += work(life, clients)
        check_sound(state)
        began = time.monotonic()
        life = lives.start(folder, state)
        assert life.run("adder", number=1) == 2
        waits.append(time.monotonic() - began)
        settled(life)
        for each in clients:
            each.check(life)
    life.kill()
    assert max(waits) < READY
    told = sorted(waits)
    print(f"{len(waits)} kills, {done} things done, ready after {told[0]:.1f} to {told[-1]:.1f} s")


def work(life: Life, clients: list[Client]) -> int:
    """Let all of them act at once for a while, then kill the server; gives how many things were done."""
    counts = dict.fromkeys(range(len(clients)), 0)
    failures: list[BaseException] = []

    def act(place: int) -> None:
        try:
            while True:
                clients[place].act(life)
                counts[place] += 1
        except httpx.TransportError:
            return  # it died
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=act, args=(place,)) for place in range(len(clients))]
    for each in threads:
        each.start()
    time.sleep(random.uniform(0.2, 1.5))  # the moment of the kill is what is drawn here
    life.kill()
    for each in threads:
        each.join(LIMIT)
    assert not failures, failures
    return sum(counts.values())

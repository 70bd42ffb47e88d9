"""A pipeline asks its caller: with the SDK's own client, in both eras, over every transport."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served, Transport, serve, until
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.shared.exceptions import MCPError

from .conftest import wrapper

pytestmark = pytest.mark.anyio

WRAPPERS = {
    "book": '''
        def run_api(self, context: Context, log: str) -> dict[str, object]:
            """Asks for a trip in a thread; leaves a line for each time it runs."""
            with open(log, "a") as file:
                file.write("ran\\n")
            answer = context.ask("Where to?", Trip)
            return {"action": answer.action, "trip": answer.value}
    ''',
    "book_async": '''
        async def run_api_async(self, context: Context, log: str) -> dict[str, object]:
            """Asks for a trip on the event loop."""
            with open(log, "a") as file:
                file.write("ran\\n")
            answer = await context.ask("Where to?", Trip)
            return {"action": answer.action, "trip": answer.value}
    ''',
    "plain": '''
        def run_api(self, context: Context) -> dict[str, object]:
            """Asks with a schema of its own."""
            schema = {"type": "object", "properties": {"seats": {"type": "integer", "minimum": 1}}}
            return {"content": context.ask("How many?", schema).content}
    ''',
    "link": '''
        def run_api(self, context: Context) -> str:
            """Sends a person to a page."""
            return context.ask_url("Pay here", "https://pay.example/42").action
    ''',
    "sample": '''
        def run_api(self, context: Context) -> str:
            """Has the client's model complete a prompt."""
            return context.sample("Say hello", max_tokens=5, system="Be brief")
    ''',
    "roots": '''
        def run_api(self, context: Context) -> list[str]:
            """Names the client's folders."""
            return [root["uri"] for root in context.roots()]
    ''',
    "several": '''
        async def run_api_async(self, context: Context) -> dict[str, object]:
            """Asks three things in one round."""
            form = Form("Where to?", Trip)
            answers = await context.ask_all(trip=form, word=Sampling("Hello"), roots=Roots())
            city, folders = answers["trip"].value.city, answers["roots"]
            return {"city": city, "word": answers["word"], "roots": len(folders)}
    ''',
    "twice": '''
        def run_api(self, context: Context) -> list[str]:
            """Asks twice, the second time about the first answer."""
            first = context.ask("First city?", Trip).value.city
            return [first, context.ask(f"And after {first}?", Trip).value.city]
    ''',
    "hasty": '''
        timeout = 1.0

        def run_api(self, context: Context, log: str) -> str:
            """May work for a second, and asks somebody who takes longer."""
            return context.ask("Where to?", Trip).value.city
    ''',
    "needy": '''
        def run_api(self, context: Context) -> str:
            """Needs a client with a model."""
            context.require("sampling")
            return "fine"
    ''',
    "strict": '''
        def run_api(self) -> str:
            """Ends with a protocol error."""
            raise ProtocolError(4711, "No more seats", {"seats": 0})
    ''',
    "torn": '''
        async def run_api_async(self, context: Context, stopped: str) -> str:
            """Asks; leaves a file if it is stopped meanwhile."""
            try:
                return (await context.ask("Where to?", Trip)).action
            except BaseException:
                open(stopped, "w").close()
                raise
    ''',
    "torn_thread": '''
        def run_api(self, context: Context, stopped: str) -> str:
            """The same in a thread."""
            try:
                return context.ask("Where to?", Trip).action
            except BaseException:
                open(stopped, "w").close()
                raise
    ''',
    "long": '''
        async def run_api_async(self, context: Context, started: str) -> None:
            """Asks, then works for ever."""
            await context.ask("Where to?", Trip)
            open(started, "w").close()
            await asyncio.Event().wait()
    ''',
    "here": '''
        engine = "local"

        def run_api(self, context: Context) -> str:
            """Asks from the server's own process."""
            return context.ask("Where to?", Trip).value.city
    ''',
    "chatty": '''
        def run_api(self, context: Context) -> str:
            """Says much before it asks, and after."""
            for number in range(200):
                context.chunk(f"{number} ")
            city = context.ask("Where to?", Trip).value.city
            context.chunk(city)
            return city
    ''',
}
HEAD = """\
from pydantic import BaseModel, Field
from mcp_server import Form, ProtocolError, Roots, Sampling


class Trip(BaseModel):
    city: str = Field(description="Where to")
    nights: int = 1


"""
PARIS = {"city": "Paris", "nights": 2}
ASKING = ("elicitation", "sampling", "roots")

Reply = Callable[[types.ElicitRequestParams], types.ElicitResult]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("asking")
    for name, body in WRAPPERS.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(HEAD + wrapper(body))
    return made


@pytest.fixture(scope="module", params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(scope="module", params=["http", "sse", "stdio"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


class Person:
    """Sits at a client: notes what is asked, and gives the replies in turn, the last one for ever."""

    def __init__(self, *replies: types.ElicitResult) -> None:
        self.asked: list[types.ElicitRequestParams] = []
        self.prompts: list[types.CreateMessageRequestParams] = []
        self.replies = list(replies)
        self.wait = anyio.Event()
        self.wait.set()

    async def fill(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        self.asked.append(params)
        await self.wait.wait()
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def complete(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        self.prompts.append(params)
        text = types.TextContent(type="text", text="hello there")
        return types.CreateMessageResult(role="assistant", content=text, model="mine", stop_reason="endTurn")

    async def folders(self, context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///work")])

    @property
    def abilities(self) -> dict[str, Any]:
        return {
            "elicitation_callback": self.fill,
            "sampling_callback": self.complete,
            "list_roots_callback": self.folders,
        }


def accept(**content: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


@pytest.fixture(scope="module")
def person() -> Person:
    return Person(accept(**PARIS))


class Clients(NamedTuple):
    """Two clients of one server."""

    asked: Client
    mute: Client
    """It cannot be asked."""


@pytest.fixture(scope="module")
async def clients(served: Served, transport: Transport, mode: Mode, person: Person) -> AsyncIterator[Clients]:
    asked, mute = served.client(transport, mode, **person.abilities), served.client(transport, mode)
    async with asked, mute:
        yield Clients(asked, mute)


@pytest.fixture
def client(clients: Clients) -> Client:
    return clients.asked


@pytest.fixture
def mute(clients: Clients) -> Client:
    return clients.mute


@pytest.fixture(autouse=True)
async def bounded(person: Person) -> AsyncIterator[None]:
    person.asked.clear()
    person.prompts.clear()
    person.replies = [accept(**PARIS)]
    with anyio.fail_after(60):
        yield


def text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


def held(result: types.CallToolResult) -> Any:
    """The structured content of a call that succeeded."""
    assert not result.is_error, text(result)
    return result.structured_content


def runs(log: Path) -> int:
    return log.read_text().count("ran")


@pytest.mark.parametrize("tool", ["book", "book_async"])
async def test_a_form_comes_back_as_the_model_and_the_run_is_one(
    client: Client, person: Person, tool: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    assert held(await client.call_tool(tool, {"log": str(log)})) == {"action": "accept", "trip": PARIS}
    (asked,) = person.asked
    assert isinstance(asked, types.ElicitRequestFormParams)
    assert asked.message == "Where to?"
    assert asked.requested_schema["required"] == ["city"]
    assert asked.requested_schema["properties"]["nights"]["default"] == 1
    assert runs(log) == 1


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_may_refuse(client: Client, person: Person, action: Any, tmp_path: Path) -> None:
    person.replies = [types.ElicitResult(action=action)]
    result = await client.call_tool("book", {"log": str(tmp_path / "log")})
    assert held(result) == {"action": action, "trip": None}


@pytest.mark.parametrize("tool", ["book", "book_async"])
async def test_content_that_does_not_fit_is_asked_for_again_with_the_reason(
    client: Client, person: Person, tool: str, tmp_path: Path
) -> None:
    person.replies = [accept(city="Paris", nights="many"), accept(nights=2), accept(**PARIS)]
    log = tmp_path / "log"
    assert held(await client.call_tool(tool, {"log": str(log)})) == {"action": "accept", "trip": PARIS}
    first, second, third = (asked.message for asked in person.asked)
    assert first == "Where to?"
    assert second.startswith(first) and "check nights" in second
    assert third.startswith(first) and "check city" in third and "nights" not in third
    assert runs(log) == 1


async def test_after_asking_twice_again_the_call_fails_and_names_the_field(
    client: Client, person: Person, tmp_path: Path
) -> None:
    person.replies = [accept(city="Paris", nights="many")] * 9
    result = await client.call_tool("book", {"log": str(tmp_path / "log")})
    assert result.is_error and "nights" in text(result)
    assert len(person.asked) == 3


async def test_content_that_does_not_fit_a_plain_schema_is_asked_for_again_too(
    client: Client, person: Person
) -> None:
    person.replies = [accept(seats=0)] * 9
    result = await client.call_tool("plain", {})
    assert result.is_error and "seats" in text(result)
    person.replies = [accept(seats=0), accept(seats=2)]
    assert held(await client.call_tool("plain", {})) == {"content": {"seats": 2}}
    person.replies = [accept(seats=3)]
    assert held(await client.call_tool("plain", {})) == {"content": {"seats": 3}}


async def test_a_person_is_sent_to_a_page(client: Client, person: Person) -> None:
    person.replies = [types.ElicitResult(action="accept")]
    assert held(await client.call_tool("link", {})) == {"result": "accept"}
    (asked,) = person.asked
    assert isinstance(asked, types.ElicitRequestURLParams)
    assert (asked.message, asked.url) == ("Pay here", "https://pay.example/42")


async def test_the_clients_model_completes_a_prompt(client: Client, person: Person) -> None:
    assert held(await client.call_tool("sample", {})) == {"result": "hello there"}
    (prompt,) = person.prompts
    assert (prompt.max_tokens, prompt.system_prompt) == (5, "Be brief")


async def test_the_clients_folders_are_known(client: Client) -> None:
    assert held(await client.call_tool("roots", {})) == {"result": ["file:///work"]}


async def test_several_questions_go_out_in_one_round(client: Client) -> None:
    assert held(await client.call_tool("several", {})) == {"city": "Paris", "word": "hello there", "roots": 1}


async def test_two_rounds_follow_each_other(client: Client, person: Person) -> None:
    person.replies = [accept(city="Rome"), accept(city="Oslo")]
    assert held(await client.call_tool("twice", {})) == {"result": ["Rome", "Oslo"]}
    assert [asked.message for asked in person.asked] == ["First city?", "And after Rome?"]


async def test_waiting_for_a_person_does_not_count_as_working(client: Client, person: Person) -> None:
    person.wait = anyio.Event()

    async def come_back_late() -> None:
        await until(lambda: _true(person.asked))
        await anyio.sleep(
            1.5
        )  # longer than the timeout of the pipeline: what is tested is the passing of time
        person.wait.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_back_late)
        assert held(await client.call_tool("hasty", {"log": ""})) == {"result": "Paris"}


async def _true(value: object) -> bool:
    return bool(value)


async def test_what_was_streamed_before_the_question_is_not_lost(client: Client) -> None:
    pieces: list[str] = []

    async def hear(value: float, total: float | None, message: str | None) -> None:
        pieces.append(message or "")

    await client.call_tool("chatty", {}, progress_callback=hear)
    whole = "".join(f"{number} " for number in range(200)) + "Paris"
    await until(lambda: _true("".join(pieces) == whole))


async def test_a_pipeline_in_the_servers_own_process_asks_too(client: Client) -> None:
    assert held(await client.call_tool("here", {})) == {"result": "Paris"}


async def test_a_missing_capability_and_any_other_protocol_error_reach_the_client(
    mute: Client, client: Client
) -> None:
    with pytest.raises(MCPError) as refused:
        await mute.call_tool("needy", {})
    assert refused.value.error.code == -32021
    assert refused.value.error.data == {"requiredCapabilities": {"sampling": {}}}
    assert held(await client.call_tool("needy", {})) == {"result": "fine"}
    with pytest.raises(MCPError, match="No more seats") as refused:
        await client.call_tool("strict", {})
    assert (refused.value.error.code, refused.value.error.data) == (4711, {"seats": 0})


async def parked(client: Client, tool: str, **arguments: Any) -> str:
    """The id of a run that waits because this client cannot be asked."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error and "answer_run" in text(result)
    found = re.search(r"Run (\w+) waits", text(result))
    assert found is not None
    return found[1]


async def test_a_client_that_cannot_be_asked_answers_by_another_call(mute: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run = await parked(mute, "book", log=str(log))
    waiting = held(await mute.call_tool("get_run", {"run_id": run}))
    assert waiting["status"] == "waiting"
    assert waiting["question"]["answer"]["params"]["message"] == "Where to?"
    done = held(await mute.call_tool("answer_run", {"run_id": run, "answers": {"answer": PARIS}}))
    assert (done["status"], done["result"]) == ("done", {"action": "accept", "trip": PARIS})
    assert runs(log) == 1
    again = await mute.call_tool("answer_run", {"run_id": run, "answers": {"answer": PARIS}})
    assert again.is_error and "not waiting" in text(again)
    assert held(await mute.call_tool("get_run", {"run_id": run}))["status"] == "done"


async def test_an_answer_may_bring_the_next_question(mute: Client) -> None:
    run = await parked(mute, "twice")
    first = {"run_id": run, "answers": {"answer": {"city": "Rome"}}}
    waiting = held(await mute.call_tool("answer_run", first))
    assert waiting["status"] == "waiting"
    assert waiting["question"]["answer"]["params"]["message"] == "And after Rome?"
    second = {"run_id": run, "answers": {"answer": {"city": "Oslo"}}}
    assert held(await mute.call_tool("answer_run", second))["result"] == {"result": ["Rome", "Oslo"]}


@pytest.mark.parametrize("answers", [{}, {"other": PARIS}, {"answer": PARIS, "more": 1}])
async def test_answers_under_other_names_are_refused_and_the_run_waits_on(
    mute: Client, answers: dict[str, object], tmp_path: Path
) -> None:
    run = await parked(mute, "book", log=str(tmp_path / "log"))
    refused = await mute.call_tool("answer_run", {"run_id": run, "answers": answers})
    assert refused.is_error and "answer" in text(refused)
    assert held(await mute.call_tool("get_run", {"run_id": run}))["status"] == "waiting"
    declined = {"run_id": run, "answers": {"answer": "decline"}}
    assert held(await mute.call_tool("answer_run", declined))["result"] == {"action": "decline", "trip": None}


@pytest.mark.parametrize("tool", ["torn", "torn_thread"])
async def test_cancelling_a_run_that_waits_stops_it(mute: Client, tool: str, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    run = await parked(mute, tool, stopped=str(stopped))
    assert held(await mute.call_tool("cancel_run", {"run_id": run}))["status"] == "cancelled"
    await until(lambda: _true(stopped.exists()))
    answered = await mute.call_tool("answer_run", {"run_id": run, "answers": {"answer": PARIS}})
    assert answered.is_error and "not waiting" in text(answered)


@pytest.mark.parametrize("tool", ["torn", "torn_thread"])
async def test_leaving_a_session_while_a_question_is_open_stops_the_run(
    served: Served, tool: str, tmp_path: Path
) -> None:
    stopped, person = tmp_path / "stopped", Person(accept(**PARIS))
    person.wait = anyio.Event()
    async with served.client("http", "legacy", **person.abilities) as leaving:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leaving.call_tool, tool, {"stopped": str(stopped)})
            await until(lambda: _true(person.asked))
            tasks.cancel_scope.cancel()
        await until(lambda: _true(stopped.exists()))


class Rounds:
    """The modern era by hand: one request after the other."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, arguments: dict[str, Any], **more: Any) -> Any:
        return await self._client.session.call_tool(tool, arguments, allow_input_required=True, **more)


@pytest.fixture
async def rounds(served: Served, person: Person) -> AsyncIterator[Rounds]:
    async with served.client("http", "auto", **person.abilities) as connected:
        yield Rounds(connected)


async def test_a_state_sent_twice_gives_the_same_result_and_no_second_run(
    rounds: Rounds, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    asked = await rounds.call("book", {"log": str(log)})
    answer = {"input_responses": {"answer": accept(**PARIS)}, "request_state": asked.request_state}
    first = await rounds.call("book", {"log": str(log)}, **answer)
    second = await rounds.call("book", {"log": str(log)}, **answer)
    assert held(first) == held(second) == {"action": "accept", "trip": PARIS}
    assert runs(log) == 1


async def test_a_request_without_the_answer_is_asked_again(rounds: Rounds, tmp_path: Path) -> None:
    arguments = {"log": str(tmp_path / "log")}
    asked = await rounds.call("book", arguments)
    again = await rounds.call("book", arguments, input_responses={}, request_state=asked.request_state)
    assert again.input_requests.keys() == {"answer"}
    other = {"answer": types.ListRootsResult(roots=[])}
    still = await rounds.call("book", arguments, input_responses=other, request_state=again.request_state)
    assert still.input_requests.keys() == {"answer"}
    answers = {"answer": accept(**PARIS)}
    done = await rounds.call("book", arguments, input_responses=answers, request_state=still.request_state)
    assert held(done)["action"] == "accept"
    assert runs(tmp_path / "log") == 1


async def test_an_old_state_does_not_answer_the_next_question(rounds: Rounds) -> None:
    first = await rounds.call("twice", {})
    answers = {"answer": accept(city="Rome")}
    second = await rounds.call("twice", {}, input_responses=answers, request_state=first.request_state)
    stale = await rounds.call("twice", {}, input_responses=answers, request_state=first.request_state)
    assert stale.input_requests["answer"].params.message == "And after Rome?"
    answers = {"answer": accept(city="Oslo")}
    done = await rounds.call("twice", {}, input_responses=answers, request_state=second.request_state)
    assert held(done) == {"result": ["Rome", "Oslo"]}


async def test_the_state_of_a_cancelled_run_says_so(rounds: Rounds, tmp_path: Path) -> None:
    arguments = {"started": str(tmp_path / "started")}
    asked = await rounds.call("long", arguments)
    answer = {"input_responses": {"answer": accept(**PARIS)}, "request_state": asked.request_state}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(rounds.call, "long", arguments, **answer))
        await until(lambda: _true((tmp_path / "started").exists()))
        tasks.cancel_scope.cancel()

    async def cancelled() -> bool:
        result = await rounds.call("long", arguments, request_state=asked.request_state)
        return "was cancelled" in text(result) and "again" in text(result)

    await until(cancelled)


@pytest.mark.parametrize("place", [0, 10, -1])
async def test_a_forged_state_is_refused(rounds: Rounds, place: int) -> None:
    state = list((await rounds.call("twice", {})).request_state)
    state[place] = "A" if state[place] != "A" else "B"
    with pytest.raises(MCPError) as refused:
        await rounds.call("twice", {}, request_state="".join(state))
    assert refused.value.error.code == types.INVALID_PARAMS


async def test_a_state_is_bound_to_its_arguments(rounds: Rounds, tmp_path: Path) -> None:
    asked = await rounds.call("book", {"log": str(tmp_path / "log")})
    with pytest.raises(MCPError) as refused:
        await rounds.call("book", {"log": str(tmp_path / "else")}, request_state=asked.request_state)
    assert refused.value.error.code == types.INVALID_PARAMS
    assert not (tmp_path / "else").exists()


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_a_question_that_nobody_answers_in_time_reads_like_a_closed_form(
    folder: Path, era: Mode, tmp_path: Path
) -> None:
    person = Person(accept(**PARIS))
    person.wait = anyio.Event()
    async with serve(folder, "--answer-timeout", "1") as hasty:
        if era == "legacy":
            async with hasty.client("http", era, **person.abilities) as asked:
                result = await asked.call_tool("book", {"log": str(tmp_path / "log")})
                assert held(result) == {"action": "cancel", "trip": None}
        async with hasty.client("http", era) as silent:
            run = await parked(silent, "book", log=str(tmp_path / "log"))

            async def over() -> bool:
                view = held(await silent.call_tool("get_run", {"run_id": run}))
                return view["status"] == "done" and view["result"]["action"] == "cancel"

            await until(over)


async def test_runs_that_wait_for_nobody_do_not_use_up_the_threads(folder: Path, tmp_path: Path) -> None:
    async with serve(folder, "--threads", "4") as narrow, narrow.client("http", "legacy") as silent:
        waiting = [await parked(silent, "book", log=str(tmp_path / "log")) for _ in range(8)]
        views = [held(await silent.call_tool("get_run", {"run_id": run})) for run in waiting]
        assert [view["status"] for view in views[-2:]] == ["waiting", "waiting"]
        assert {view["status"] for view in views[:-2]} == {"cancelled"}


async def test_every_pipeline_here_is_used() -> None:
    source = Path(__file__).read_text()
    assert [name for name in WRAPPERS if source.count(json.dumps(name)) < 2] == []

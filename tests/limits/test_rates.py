"""Rates: exact over windows, whoever counts, with a clock that is passed in; and what HTTP says of them."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from mcp_server.errors import Limited
from mcp_server.limits.rates import Bucket, Memory, Rates, Window, taken
from mcp_server.limits.shared import Shared
from mcp_server.models import Caller
from mcp_server.settings import Settings

pytestmark = pytest.mark.anyio
LIMIT = 60.0
ADA = Caller(name="ada")
SOME_DAY = 1_900_000_000.0


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = SOME_DAY

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("limit", [1, 7, 20, 1000])
async def test_a_window_lets_through_exactly_its_limit_ten_times(limit: int) -> None:
    clock = Clock()
    ledger, rule = Memory(clock), Window("hour", limit, 3600.0)
    through: list[int] = []
    for number in range(10):
        clock.now = SOME_DAY + number * 3600.0
        passed = 0
        for _ in range(limit + 50):  # all of them within the window
            standing = await ledger.take("ada", [rule])
            passed += standing.after is None
            clock.now += 3600.0 / (limit + 51)
        assert standing.after is not None and standing.remaining == 0
        assert clock.now + standing.after == pytest.approx(SOME_DAY + (number + 1) * 3600.0, abs=3600 / limit)
        through.append(passed)
    assert through == [limit] * 10


async def test_a_bucket_lets_through_its_burst_and_then_its_rate_over_ten_seconds() -> None:
    clock = Clock()
    ledger, rule = Memory(clock), Bucket("second", 20.0, 40)
    through = [0]
    for step in range(10_000):  # a thousand a second for ten seconds
        clock.now = SOME_DAY + step / 1000
        through[-1] += (await ledger.take("ada", [rule])).after is None
        if step % 1000 == 999:
            through.append(0)
    assert abs(through[0] - 59) <= 1 and all(abs(each - 20) <= 1 for each in through[1:10])
    assert abs(sum(through) - (40 + 199)) <= 1
    clock.now += 3  # two seconds fill it
    standing = await ledger.take("ada", [rule])
    assert (standing.limit, standing.remaining) == (40, 39)


async def test_a_refused_request_uses_up_nothing_and_says_when_to_come_back() -> None:
    clock = Clock()
    ledger = Memory(clock)
    rules = [Window("hour", 100, 3600.0), Bucket("second", 1.0, 1)]
    assert (await ledger.take("ada", rules)).remaining == 99
    for _ in range(50):
        refused = await ledger.take("ada", rules)
        assert refused.after == pytest.approx(1.0)
    clock.now += 1.0
    assert (await ledger.take("ada", rules)).remaining == 98


@pytest.mark.parametrize("leap", [-3600.0, 3600.0, -1e8, 1e8])
async def test_a_clock_that_leaps_locks_nobody_out(leap: float) -> None:
    clock = Clock()
    ledger, rules = Memory(clock), [Window("hour", 2, 3600.0), Bucket("second", 1.0, 2)]
    for _ in range(2):
        assert (await ledger.take("ada", rules)).after is None
    clock.now += leap
    assert (await ledger.take("ada", rules)).after is None


def test_counters_are_values() -> None:
    rules = [Window("hour", 2, 3600.0)]
    once, _ = taken(rules, {}, SOME_DAY)
    again, _ = taken(rules, once, SOME_DAY + 1)
    assert (dict(once), dict(again)) == ({"hour": (SOME_DAY, 1)}, {"hour": (SOME_DAY, 2)})


async def test_who_is_counted_and_how() -> None:
    rates = Rates(Settings(rate_per_hour=50, register_per_minute=2, rate_burst=100), Memory(Clock()))
    assert await rates.request(Caller(name="anyone")) is None
    assert await rates.request(Caller(name="nobody")) is None
    standing = await rates.request(ADA)
    assert standing and (standing.limit, standing.remaining) == (50, 49)
    own = await rates.request(Caller(name="bob", rate=7))
    assert own and own.limit == 7
    for left in (1, 0):
        registered = await rates.request(ADA, "register")
        assert registered and (registered.limit, registered.remaining) == (2, left)
    refused = await rates.request(ADA, "register")
    assert refused and refused.after == pytest.approx(60.0)
    with pytest.raises(Limited, match="try again in 60 seconds"):
        await rates.count(ADA, "register")
    assert (await rates.request(ADA)).remaining == 46  # type: ignore[union-attr]
    free = Rates(Settings(rate_per_hour=0, rate_per_second=0), Memory(Clock()))
    assert await free.request(ADA) is None


@pytest.fixture
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL database with our tables."""
    from mcp_server.store.file import connect, prepare

    place = request.getfixturevalue("cluster").database()
    engine = connect(place)
    prepare(engine, place)
    engine.dispose()
    yield place


async def test_servers_on_one_postgresql_count_together_and_exactly(url: str) -> None:
    servers = [Shared(url) for _ in range(3)]
    rules = [Window("hour", 100, 3600.0), Bucket("second", 1000.0, 1000)]
    through: list[bool] = []

    async def ask(number: int) -> None:
        through.append((await servers[number % 3].take("ada", rules)).after is None)

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(ask, number)
        assert sum(through) == 100
        assert (await servers[0].take("bob", rules)).remaining == 99
        for server in servers:
            await server.close()


async def test_without_its_database_each_server_counts_for_itself() -> None:
    alone = Shared("postgresql+psycopg://tests@127.0.0.1:1/none")
    rules = [Window("hour", 2, 3600.0)]
    with anyio.fail_after(LIMIT):
        through = [(await alone.take("ada", rules)).after is None for _ in range(3)]
    assert through == [True, True, False]
    await alone.close()

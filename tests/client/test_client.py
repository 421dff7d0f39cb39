"""The client classes, against the whole stack."""

import asyncio
import gc
import json
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from dropzone import (
    AsyncClient,
    BadRequest,
    BadUserInput,
    Client,
    Conflict,
    Forbidden,
    NotFound,
    OrderField,
    Range,
    Receipt,
    ResultFilter,
    ResultOrder,
    SampleFilter,
    SampleLike,
    SampleState,
    TimeBucket,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
    UnusableSample,
    operations,
)
from dropzone.connection import Connection
from tests.ports import free_port
from tests.stack import Stack

FIXTURE = Path("fixture/sample.json")


def sample(*data: float, time_stamp: str = "2019-05-01T06:00:00-04:00") -> dict[str, object]:
    """Return a sample with these values."""
    return {"time_stamp": time_stamp, "data": list(data)}


async def test_a_sample_comes_back_as_values(stack: Stack) -> None:
    """Submit, wait, and everything that is known of it has a type."""
    async with AsyncClient(stack.url, stack.new_key("values")) as client:
        receipt = await client.submit(FIXTURE.read_bytes())
        settled = [settled async for settled in client.wait([receipt.id])]
        result = await client.result(receipt.id)
        known = await client.sample(receipt.id)
        raw = await client.raw(receipt.id)

    assert receipt.state is SampleState.PENDING
    assert settled == [Receipt(receipt.id, SampleState.COMPUTED)]
    assert result is not None
    assert result.timestamp == datetime(2019, 5, 1, 10, tzinfo=UTC)
    assert (result.count, result.mean) == (100, 0.9985282517566032)
    assert known.result == result
    assert raw == FIXTURE.read_bytes()


def test_a_program_without_an_event_loop_does_the_same(stack: Stack) -> None:
    """Iterators too, also one that is left in the middle."""
    with Client(stack.url, stack.new_key("blocking")) as client:
        receipts = list(client.submit_many(sample(1.0, float(number)) for number in range(20)))
        ids = [receipt.id for receipt in receipts if isinstance(receipt, Receipt)]
        settled = {receipt.id: receipt.state for receipt in client.wait(ids)}
        some = client.results(limit=5)
        first = next(iter(some))

    assert len(set(ids)) == 20
    assert settled == dict.fromkeys(ids, SampleState.COMPUTED)
    assert first.id in ids


async def test_the_same_content_is_one_sample(stack: Stack) -> None:
    """A key of one's own makes it another; a member of the sample does as well, and is not overruled."""
    async with AsyncClient(stack.url, stack.new_key("content")) as client:
        first, again = [await client.submit(sample(1.0)) for _ in range(2)]
        other = await client.submit(sample(1.0), idempotency_key="another")
        keyed = [await client.submit(sample(value) | {"idempotency_key": "mine"}) for value in (1.0,)]
        with pytest.raises(Conflict):
            await client.submit(sample(2.0) | {"idempotency_key": "mine"})

    assert first.id == again.id
    assert len({first.id, other.id, keyed[0].id}) == 3


async def test_receipts_come_in_the_order_of_the_samples(stack: Stack) -> None:
    """What cannot be taken has its error in its place and harms no other."""
    samples: list[SampleLike] = [sample(1.0), sample(), "{", json.dumps(sample(2.0)), {"data": object()}]

    async with AsyncClient(stack.url, stack.new_key("order")) as client:
        outcomes = [outcome async for outcome in client.submit_many(samples)]

    states = [outcome.state if isinstance(outcome, Receipt) else type(outcome) for outcome in outcomes]
    assert states == [SampleState.PENDING, SampleState.REJECTED, BadRequest, SampleState.PENDING, UnusableSample]


async def test_results_are_chosen_and_ordered(stack: Stack) -> None:
    """Over more than one page."""
    async with AsyncClient(stack.url, stack.new_key("chosen")) as client:
        ids = [
            receipt.id
            async for receipt in client.submit_many(sample(float(number)) for number in range(520))
            if isinstance(receipt, Receipt)
        ]
        async for _ in client.wait(ids):
            pass
        order = ResultOrder(OrderField.MEAN, descending=True)
        every = [result.mean async for result in client.results(order_by=order)]
        where = ResultFilter(mean=Range(gte=3.0, lt=6.0), timestamp=Range(lte=datetime(2020, 1, 1, tzinfo=UTC)))
        some = [result.mean async for result in client.results(where, order, limit=2)]

    assert every == [float(number) for number in reversed(range(520))]
    assert some == [5.0, 4.0]


async def test_samples_are_found_by_their_state(stack: Stack) -> None:
    """With what is wrong with them."""
    async with AsyncClient(stack.url, stack.new_key("states")) as client:
        rejected = await client.submit(sample())
        await client.submit(sample(1.0))
        found = [found async for found in client.samples(SampleFilter(state=SampleState.REJECTED))]

    assert [known.id for known in found] == [rejected.id]
    assert [problem.path for problem in found[0].problems] == ["$.data"]


async def test_a_watch_misses_nothing_behind_the_first_result(stack: Stack) -> None:
    """Also where there was no result yet from which to go on."""
    async with AsyncClient(stack.url, stack.new_key("first")) as client:
        seen: list[float] = []

        async def follow() -> None:
            async for edge in client.watch():
                seen.append(edge.result.mean)

        following = asyncio.create_task(follow())
        number = 0
        while number < 5 or not seen or seen[-1] != number:
            number += 1
            receipt = await client.submit(sample(float(number)))
            async for _ in client.wait([receipt.id]):
                pass
        following.cancel()
        await asyncio.wait([following])

    assert seen == [float(value) for value in range(int(seen[0]), number + 1)]


async def test_a_watch_begins_behind_all_results_of_a_burst(stack: Stack) -> None:
    """Those that were stored at the same instant as the newest one included."""
    async with AsyncClient(stack.url, stack.new_key("burst")) as client:
        receipts = [each async for each in client.submit_many(sample(float(number)) for number in range(300))]
        ids = [each.id for each in receipts if isinstance(each, Receipt)]
        assert len([each async for each in client.wait(ids)]) == 300
        cursor = await client.cursor()

        receipt = await client.submit(sample(-1.0))

        async with aclosing(client.watch(after=cursor)) as edges:
            first = await anext(edges)
    assert first.result.id == receipt.id


async def test_many_results_are_summed_up(stack: Stack) -> None:
    """As a whole, and for each piece of time."""
    async with AsyncClient(stack.url, stack.new_key("summed")) as client:
        samples = [sample(1.0, 3.0), sample(5.0, time_stamp="2019-05-02T00:00:00Z")]
        receipts = [receipt.id async for receipt in client.submit_many(samples) if isinstance(receipt, Receipt)]
        async for _ in client.wait(receipts):
            pass
        summary = await client.summary()
        nothing = await client.summary(ResultFilter(mean=Range(gt=100.0)))
        days = await client.over_time(TimeBucket.DAY)

    assert (summary.results, summary.values, summary.mean, summary.maximum) == (2, 3, 3.0, 5.0)
    assert (nothing.results, nothing.mean) == (0, None)
    assert [(day.start.day, day.summary.mean) for day in days] == [(1, 2.0), (2, 5.0)]


async def test_errors_have_a_class_and_the_code_of_the_server(stack: Stack) -> None:
    """So that a program can tell them apart."""
    async with AsyncClient(stack.url, stack.new_key("writer", "submit")) as client:
        with pytest.raises(Forbidden) as forbidden:
            await client.result("x")
    async with AsyncClient(stack.url, "dz_wrong") as client:
        with pytest.raises(Unauthenticated):
            await client.submit(sample(1.0))
        with pytest.raises(Unauthenticated):
            await anext(client.watch())
    async with AsyncClient(stack.url, stack.new_key("reader")) as client:
        with pytest.raises(NotFound):
            await client.sample("00000000-0000-4000-8000-000000000000")
        with pytest.raises(NotFound):
            await client.raw("00000000-0000-4000-8000-000000000000")
        with pytest.raises(BadRequest):
            await anext(client.watch(after="no cursor"))
        with pytest.raises(BadUserInput):
            await anext(client.results(ResultFilter(count=Range(gte=0.5))))

    assert forbidden.value.code == "FORBIDDEN"


async def test_an_address_with_nobody_or_somebody_else_is_told_apart(stack: Stack) -> None:
    """Nobody: perhaps later. Somebody else: never."""
    async with AsyncClient("http://127.0.0.1:9", "dz_any", patience=0.0) as client:
        with pytest.raises(Unreachable, match=r"nothing answers at http://127\.0\.0\.1:9: Connection refused"):
            await client.submit(sample(1.0))
    async with AsyncClient(f"{stack.url}/elsewhere", "dz_any") as client:
        with pytest.raises(NotFound):
            await client.submit(sample(1.0))
    async with AsyncClient(f"http://127.0.0.1:{stack.function_port}", "dz_any") as client:
        with pytest.raises(UnexpectedAnswer):
            await client.ping()
    async with AsyncClient(stack.url.replace("http:", "https:"), "dz_any", patience=0.0) as client:
        with pytest.raises(Unreachable, match=r"there is no secure connection to https://.*: .*wrong version number"):
            await client.ping()
    with pytest.raises(ValueError, match="expected an address"):
        AsyncClient("not an address", "dz_any")


async def test_a_subscription_that_nobody_answers_leaves_nothing_open() -> None:
    """Whoever watches through an outage tries for hours."""
    connection = Connection(f"http://127.0.0.1:{free_port()}", "key", patience=0.0)

    with pytest.raises(Unreachable):
        await anext(connection.subscribe(operations.WATCH, {"after": None}))

    found = [each for each in gc.get_objects() if type(each) is aiohttp.ClientSession]  # a dead proxy has a type, too
    assert all(session.closed for session in found)

"""`AsyncClient` and `Client`, against the whole stack."""

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
    ResultOverview,
    SampleFilter,
    SampleLike,
    SampleState,
    SettledSample,
    TimeBucket,
    Unauthenticated,
    UnexpectedResponse,
    Unreachable,
    UnusableSample,
)
from dropzone.sign_in.credentials import Credentials
from dropzone.transport import operations
from dropzone.transport.connection import Connection
from tests.ports import free_port
from tests.stack import Stack

FIXTURE = Path("fixture/sample.json")


def sample(*data: float, time_stamp: str = "2019-05-01T06:00:00-04:00") -> dict[str, object]:
    """Return a sample with these values."""
    return {"time_stamp": time_stamp, "data": list(data)}


async def test_sample_and_result_are_typed_values(stack: Stack) -> None:
    """A sample is submitted, awaited and read back."""
    async with AsyncClient(stack.url, stack.new_key("values")) as client:
        receipt = await client.submit(FIXTURE.read_bytes())
        settled = [settled async for settled in client.wait([receipt.id])]
        result = await client.result(receipt.id)
        stored = await client.sample(receipt.id)
        raw = await client.raw(receipt.id)

    assert receipt.state is SampleState.PENDING
    assert result is not None
    assert result.timestamp == datetime(2019, 5, 1, 10, tzinfo=UTC)
    assert (result.count, result.mean) == (100, 0.9985282517566032)
    overview = ResultOverview(
        timestamp=result.timestamp,
        count=result.count,
        mean=result.mean,
        standard_deviation=result.standard_deviation,
    )
    assert settled == [SettledSample(receipt.id, SampleState.COMPUTED, (), overview)]
    assert stored.result == result
    assert raw == FIXTURE.read_bytes()


def test_client_works_without_an_event_loop(stack: Stack) -> None:
    """An iterator that is not read to its end is closed with the client."""
    with Client(stack.url, stack.new_key("blocking")) as client:
        receipts = list(client.submit_many(sample(1.0, float(number)) for number in range(20)))
        ids = [receipt.id for receipt in receipts if isinstance(receipt, Receipt)]
        settled = {receipt.id: receipt.state for receipt in client.wait(ids)}
        first = next(iter(client.results(limit=5)))

    assert len(set(ids)) == 20
    assert settled == dict.fromkeys(ids, SampleState.COMPUTED)
    assert first.id in ids


async def test_same_content_is_stored_once(stack: Stack) -> None:
    """Another idempotency key stores it again. A member `idempotency_key` of the sample takes effect too."""
    async with AsyncClient(stack.url, stack.new_key("content")) as client:
        first, repeated = [await client.submit(sample(1.0)) for _ in range(2)]
        other = await client.submit(sample(1.0), idempotency_key="another")
        keyed = await client.submit(sample(1.0) | {"idempotency_key": "mine"})
        with pytest.raises(Conflict):
            await client.submit(sample(2.0) | {"idempotency_key": "mine"})

    assert first.id == repeated.id
    assert len({first.id, other.id, keyed.id}) == 3


async def test_receipts_are_in_the_order_of_the_samples(stack: Stack) -> None:
    """A sample that cannot be stored has its error in place of a receipt. The other samples are stored."""
    samples: list[SampleLike] = [sample(1.0), sample(), "{", json.dumps(sample(2.0)), {"data": object()}]

    async with AsyncClient(stack.url, stack.new_key("order")) as client:
        outcomes = [outcome async for outcome in client.submit_many(samples)]

    states = [outcome.state if isinstance(outcome, Receipt) else type(outcome) for outcome in outcomes]
    assert states == [SampleState.PENDING, SampleState.REJECTED, BadRequest, SampleState.PENDING, UnusableSample]


async def test_results_are_filtered_and_ordered_over_several_pages(stack: Stack) -> None:
    """A limit ends the iteration early."""
    async with AsyncClient(stack.url, stack.new_key("filtered-by-client")) as client:
        ids = [
            receipt.id
            async for receipt in client.submit_many(sample(float(number)) for number in range(520))
            if isinstance(receipt, Receipt)
        ]
        async for _ in client.wait(ids):
            pass
        order = ResultOrder(OrderField.MEAN, descending=True)
        means = [result.mean async for result in client.results(order_by=order)]
        where = ResultFilter(mean=Range(gte=3.0, lt=6.0), timestamp=Range(lte=datetime(2020, 1, 1, tzinfo=UTC)))
        some = [result.mean async for result in client.results(where, order, limit=2)]

    assert means == [float(number) for number in reversed(range(520))]
    assert some == [5.0, 4.0]


async def test_samples_are_filtered_by_state(stack: Stack) -> None:
    """A REJECTED sample has problems."""
    async with AsyncClient(stack.url, stack.new_key("states")) as client:
        rejected = await client.submit(sample())
        await client.submit(sample(1.0))
        samples = [each async for each in client.samples(SampleFilter(state=SampleState.REJECTED))]

    assert [each.id for each in samples] == [rejected.id]
    assert [problem.path for problem in samples[0].problems] == ["$.data"]


async def test_watch_that_starts_without_results_misses_none(stack: Stack) -> None:
    """It yields every result after the first that it yields."""
    async with AsyncClient(stack.url, stack.new_key("first")) as client:
        means: list[float] = []

        async def watch() -> None:
            async for edge in client.watch():
                means.append(edge.result.mean)

        watching = asyncio.create_task(watch())
        number = 0
        while number < 5 or not means or means[-1] != number:
            number += 1
            receipt = await client.submit(sample(float(number)))
            async for _ in client.wait([receipt.id]):
                pass
        watching.cancel()
        await asyncio.wait([watching])

    assert means == [float(value) for value in range(int(means[0]), number + 1)]


async def test_newest_cursor_is_after_all_results_of_a_burst(stack: Stack) -> None:
    """Results that have the same time as the newest result are not repeated."""
    async with AsyncClient(stack.url, stack.new_key("burst-of-submissions")) as client:
        receipts = [each async for each in client.submit_many(sample(float(number)) for number in range(300))]
        ids = [each.id for each in receipts if isinstance(each, Receipt)]
        assert len([each async for each in client.wait(ids)]) == 300
        cursor = await client.newest_cursor()

        receipt = await client.submit(sample(-1.0))

        async with aclosing(client.watch(after=cursor)) as edges:
            first = await anext(edges)
    assert first.result.id == receipt.id


async def test_results_are_summarized(stack: Stack) -> None:
    """One summary covers all results, others one day each."""
    async with AsyncClient(stack.url, stack.new_key("summarized")) as client:
        samples = [sample(1.0, 3.0), sample(5.0, time_stamp="2019-05-02T00:00:00Z")]
        receipts = [receipt.id async for receipt in client.submit_many(samples) if isinstance(receipt, Receipt)]
        async for _ in client.wait(receipts):
            pass
        summary = await client.summary()
        empty = await client.summary(ResultFilter(mean=Range(gt=100.0)))
        days = await client.over_time(TimeBucket.DAY)

    assert (summary.results, summary.values, summary.mean, summary.maximum) == (2, 3, 3.0, 5.0)
    assert (empty.results, empty.mean) == (0, None)
    assert [(day.start.day, day.summary.mean) for day in days] == [(1, 2.0), (2, 5.0)]


async def test_errors_have_a_class_and_the_code_of_the_server(stack: Stack) -> None:
    """Programs can switch on either."""
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


async def test_white_space_around_a_key_is_ignored(stack: Stack) -> None:
    """A file that contains a key ends with a line end. Other characters that HTTP cannot send are an error."""
    async with AsyncClient(stack.url, f" {stack.key}\n") as client:
        assert (await client.whoami()).submitter == "local"
        for wrong in ("a\nb", "a\x00"):
            with pytest.raises(BadUserInput, match="idempotency key of printable characters"):
                await client.submit(sample(1.0), idempotency_key=wrong)
            with pytest.raises(BadUserInput, match="id of a sample"):
                await client.submit(sample(1.0), supersedes=wrong)
            async with AsyncClient(stack.url, wrong) as other:
                with pytest.raises(Unauthenticated, match="printable"):
                    await other.whoami()
                with pytest.raises(Unauthenticated, match="printable"):
                    await anext(other.watch())


async def test_text_that_is_not_unicode_is_refused_at_once(stack: Stack) -> None:
    """The server closes a WebSocket with such a message, so `watch` would reconnect without end."""
    async with AsyncClient(stack.url, stack.key) as client:
        with pytest.raises(BadUserInput, match=r"expected text in UTF-8, got '\\udcff'"):
            await anext(client.watch(after="\udcff"))
        with pytest.raises(BadUserInput, match="expected text in UTF-8"):
            await client.sample("\ud800")


async def test_no_server_and_another_server_are_different_errors(stack: Stack) -> None:
    """A retry can fix the first, but not the second."""
    async with AsyncClient("http://127.0.0.1:9", "dz_any", retry_seconds=0.0) as client:
        with pytest.raises(Unreachable, match=r"cannot connect to http://127\.0\.0\.1:9: Connection refused"):
            await client.submit(sample(1.0))
    async with AsyncClient("http://no-host.invalid", "dz_any", retry_seconds=0.0) as client:
        with pytest.raises(Unreachable, match=r"cannot find the host of http://no-host\.invalid: [A-Z][a-z ]+"):
            await client.submit(sample(1.0))
    async with AsyncClient(f"{stack.url}/elsewhere", "dz_any") as client:
        with pytest.raises(NotFound):
            await client.submit(sample(1.0))
    async with AsyncClient(f"http://127.0.0.1:{stack.function_port}", "dz_any") as client:
        with pytest.raises(UnexpectedResponse):
            await client.ping()
    async with AsyncClient(stack.url.replace("http:", "https:"), "dz_any", retry_seconds=0.0) as client:
        with pytest.raises(
            Unreachable, match=r"cannot establish a secure connection to https://.*: .*wrong version number"
        ):
            await client.ping()
    with pytest.raises(ValueError, match="expected a URL"):
        AsyncClient("not a URL", "dz_any")


async def test_a_cancelled_close_leaves_no_connection_open(stack: Stack) -> None:
    """Ctrl-C can arrive while a command closes its client. aiohttp would print that a session is not closed."""
    client = AsyncClient(stack.url, stack.key)
    await client.whoami()
    await client.ping()
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)

    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing

    sessions = [each for each in gc.get_objects() if type(each) is aiohttp.ClientSession]
    assert all(session.closed for session in sessions)


async def test_subscription_without_a_server_leaves_no_session_open() -> None:
    """A watch reconnects for hours during an outage."""
    connection = Connection(f"http://127.0.0.1:{free_port()}", Credentials("key", None))

    with pytest.raises(Unreachable):
        await anext(connection.subscribe(operations.WATCH, {"after": None}))

    # `isinstance` would fail for dead weak references among the objects.
    sessions = [each for each in gc.get_objects() if type(each) is aiohttp.ClientSession]
    assert all(session.closed for session in sessions)

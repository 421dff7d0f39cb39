"""`submit_many` sends samples that are available together as the lines of one request."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from dropzone import AsyncClient, BadRequest, DropzoneError, Receipt, Unauthenticated, Unavailable, UnusableSample
from dropzone.submission import SampleLike
from dropzone.submission.batches import in_batches, size
from dropzone.submission.sample_bytes import content_key, encode
from storage.documents import ContentKey
from tests.aiohttp_server import serving
from tests.client.limiting_proxy import LimitingProxy
from tests.stack import FIXTURE, Stack

UNUSABLE = object()

samples = st.one_of(
    st.binary(max_size=4),
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.just(b"x" * 200_000),
    st.just(b"x" * 300_000),
    st.just({"data": [1]}),
    st.just({"data": UNUSABLE}),
)


def sample(number: int) -> bytes:
    """Return a sample whose mean is `number`."""
    return b'{"time_stamp":"2026-11-27T00:00:00Z","data":[%d]}' % number


def ids(outcomes: list[Receipt | DropzoneError]) -> list[str]:
    """Return the ids of samples that are all stored."""
    assert all(isinstance(outcome, Receipt) for outcome in outcomes), outcomes
    return [outcome.id for outcome in outcomes if isinstance(outcome, Receipt)]


async def submit_many(client: AsyncClient, submitted: list[bytes], **options: Any) -> list[Receipt | DropzoneError]:
    """Return the outcomes of samples."""
    return [outcome async for outcome in client.submit_many(submitted, **options)]


@given(st.lists(samples, max_size=250))
@example([b"1"] * 250)
async def test_batches_contain_all_samples_in_order(submitted: list[SampleLike]) -> None:
    """A batch of several samples consists of lines, and has at most 100 lines and 256 KiB."""
    batches = [batch async for batch in in_batches(submitted)]

    sent: list[bytes | None] = []
    for batch in batches:
        sent += [None] if isinstance(batch, UnusableSample) else batch
        if isinstance(batch, list) and len(batch) > 1:
            assert all(line.strip() and b"\n" not in line for line in batch)
            assert len(batch) <= 100
            assert size(batch) <= 256 * 1024
    unusable = {"data": UNUSABLE}
    assert sent == [None if each == unusable else encode(each) for each in submitted]


@pytest.mark.parametrize("values", [10, 80_000], ids=["small", "large"])
async def test_a_generator_may_change_the_sample_that_it_has_yielded(stack: Stack, values: int) -> None:
    """A data logger fills the same list again and again."""

    def logger() -> Iterator[dict[str, Any]]:
        reused: dict[str, Any] = {"data": [0] * values}
        for number in range(6):
            reused["time_stamp"] = f"2026-11-27T00:00:0{number}Z"
            reused["data"][:] = [number] * values
            yield reused

    async with AsyncClient(stack.url, stack.new_key(f"reused-{values}")) as client:
        stored = [
            json.loads(await client.raw(each)) for each in ids([each async for each in client.submit_many(logger())])
        ]

    assert [(each["time_stamp"][-2], each["data"]) for each in stored] == [
        (str(number), [number] * values) for number in range(6)
    ]


async def test_the_size_of_a_batch_is_the_number_of_its_bytes() -> None:
    """It limits the memory for samples that are being sent."""
    mapping = {"time_stamp": "2026-11-27T00:00:00Z", "data": [0.5] * 100_000}

    (batch,) = [batch async for batch in in_batches([mapping])]

    assert size(batch) == len(encode(mapping)) > 400_000


async def test_a_sample_does_not_wait_for_the_next() -> None:
    """The source of a sensor can be silent for hours."""
    more = asyncio.Event()

    async def source() -> AsyncGenerator[bytes, None]:
        yield sample(1)
        yield sample(2)
        await more.wait()
        yield sample(3)

    batches = in_batches(source())
    first: list[Any] = []
    while len(first) < 2:  # on a slow machine, each sample can be a batch
        batch = await anext(batches)
        assert isinstance(batch, list)
        first += batch
    more.set()

    assert first == [sample(1), sample(2)]
    assert [batch async for batch in batches] == [[sample(3)]]


async def test_samples_before_an_exception_of_the_source_are_sent(stack: Stack) -> None:
    """The exception is raised after their receipts."""

    async def source() -> AsyncGenerator[bytes, None]:
        for number in range(150):
            yield sample(number)
        raise OSError("the port was disconnected")

    received: list[Receipt | DropzoneError] = []
    async with AsyncClient(stack.url, stack.new_key("failing-source")) as client:

        async def submit() -> None:
            async for outcome in client.submit_many(source()):
                received.append(outcome)

        with pytest.raises(OSError, match="disconnected"):
            await submit()

    assert len(set(ids(received))) == 150


async def test_many_samples_take_few_requests_and_are_stored_once(stack: Stack) -> None:
    """Their ids are those of samples that are submitted one by one, also with labels."""
    submitted = [sample(number) for number in (*range(250), 0, 0)]
    key = stack.new_key("batches")
    async with LimitingProxy(stack.url).running() as proxy, AsyncClient(proxy.url, key) as client:
        outcomes = await submit_many(client, submitted)
        requests = len(proxy.sizes)
        repeated = await submit_many(client, submitted[:10])
        alone = await client.submit(submitted[7])
        labeled = await submit_many(client, submitted[:10], labels={"site": "zürich", "unit": "V"})
        labeled_alone = await client.submit(submitted[7], labels={"unit": "V", "site": "zürich"})
        raw = await client.raw(alone.id)

    assert requests < 25
    assert len(set(ids(outcomes))) == 250
    assert ids(outcomes)[250:] == [ids(outcomes)[0]] * 2
    assert ids(repeated) == ids(outcomes)[:10]
    assert ids(outcomes)[7] == alone.id != ids(labeled)[7] == labeled_alone.id
    assert raw == submitted[7]


async def test_each_line_has_an_outcome_of_its_own(stack: Stack) -> None:
    """A sample with line ends is sent alone, because it cannot be a line."""
    keyed = sample(1)[:-1] + b',"idempotency_key":"mine"}'
    pretty = json.dumps(json.loads(FIXTURE.read_bytes()), indent=1).encode()
    async with AsyncClient(stack.url, stack.new_key("lines")) as client:
        outcomes = await submit_many(client, [sample(1), b"{", pretty, keyed, keyed, b" ", sample(2)])
        raw = await client.raw(ids([outcomes[2]])[0])
        bad_label = await submit_many(client, [sample(1), sample(2)], labels={"Site": "zurich"})

    refused = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, BadRequest)]
    assert refused == [1, 5]
    assert len(set(ids([outcomes[number] for number in (0, 2, 3, 6)]))) == 4
    assert outcomes[3] == outcomes[4]
    assert raw == pretty
    assert ["Site=zurich" in str(outcome) for outcome in bad_label] == [True, True]


class Server:
    """Responds to each request with the next of `responses`: lines, or a status."""

    def __init__(self, *responses: list[dict[str, Any]] | int) -> None:
        self._responses = list(responses)
        self.bodies: list[bytes] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yield the URL."""
        app = web.Application()
        app.router.add_post("/samples", self._respond)
        async with serving(app) as url:
            yield url

    async def _respond(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        response = self._responses.pop(0)
        if isinstance(response, int):
            return web.json_response({"error": error("UNAUTHENTICATED")}, status=response)
        return web.Response(text="\n".join(map(json.dumps, response)))


def error(code: str) -> dict[str, Any]:
    """Return an error object of the API."""
    return {"message": "no", "extensions": {"code": code}}


def receipt(line: int) -> dict[str, Any]:
    """Return the response line of a stored sample."""
    return {"line": line, "id": f"sample-{line}", "state": "PENDING", "problems": []}


THREE = [sample(1), sample(2), sample(3)]


async def test_only_lines_without_a_final_outcome_are_sent_again() -> None:
    """The response reports an outage for one line, and ends before the third."""
    first = [receipt(1), {"line": 2, "error": error("UNAVAILABLE")}]
    server = Server(first, [receipt(2), {"line": 2, "error": error("CONFLICT")}])
    async with server.running() as url, AsyncClient(url, "key") as client:
        outcomes = await submit_many(client, THREE)

    assert server.bodies == [b"\n".join(THREE), b"\n".join(THREE[1:])]
    assert [getattr(each, "id", None) or getattr(each, "code", None) for each in outcomes] == [
        "sample-1",
        "sample-2",
        "CONFLICT",
    ]


@pytest.mark.parametrize(
    ("response", "raised"),
    [(401, Unauthenticated), ([receipt(1), {"error": error("UNAUTHENTICATED")}], Unauthenticated),
     ([receipt(1), {"error": error("UNAVAILABLE")}], Unavailable)],
    ids=["at once", "after a line", "an outage"],
)  # fmt: skip
async def test_an_error_of_all_samples_ends_the_submission(response: Any, raised: type[DropzoneError]) -> None:
    """A key can be revoked while the lines are stored."""
    server = Server(response)
    async with server.running() as url, AsyncClient(url, "key", retry_seconds=0) as client:
        with pytest.raises(raised):
            await submit_many(client, THREE)

    assert len(server.bodies) == 1


@given(
    st.binary(), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3), st.none() | st.uuids().map(str)
)
def test_server_and_client_derive_the_same_key(raw: bytes, labels: dict[str, str], supersedes: str | None) -> None:
    """So a sample that is sent again, alone or as a line, is stored once."""
    assert ContentKey(labels, supersedes).of(raw) == content_key(raw, labels, supersedes)

"""The function in functions-framework: events arrive over HTTP, documents are in the embedded Firestore."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from storage.documents import Arrival, document_paths, timestamps
from storage.firestore import encoding
from tests.received import received_sample
from tests.triggers.machine import DATABASE, ROOT, Machine
from tests.triggers.samples import new_sample

FIXTURE = ROOT / "fixture"


async def test_the_result_of_the_fixture_is_the_published_one(machine: Machine, submitter: str) -> None:
    """The result of `fixture/sample.json` equals `fixture/result.json` to the last digit."""
    sample = received_sample((FIXTURE / "sample.json").read_bytes(), submitter=submitter)
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    expected = json.loads((FIXTURE / "result.json").read_text())
    assert timestamps.to_text(result["timestamp"]) == expected["timestamp"]
    assert {name: result[name] for name in expected if name != "timestamp"} == {
        name: expected[name] for name in expected if name != "timestamp"
    }
    assert result["status"] == "COMPUTED"
    assert result["sample_update_time"] == encoding.to_datetime(header.update_time)
    assert abs((datetime.now(UTC) - result["computed_at"]).total_seconds()) < 60


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "application/protobuf"), (b"\n\xff", "application/protobuf"), (b"{}", "application/json")],
    ids=["missing", "truncated", "JSON"],
)
async def test_an_event_without_a_readable_body_is_computed(
    machine: Machine, submitter: str, body: bytes, content_type: str
) -> None:
    """Eventarc omits bodies that are too large, so the function reads the sample from Firestore."""
    sample = new_sample(submitter)
    header = await machine.store(sample)
    path = document_paths.sample(submitter, sample.header.id)

    assert await machine.deliver(path=path, body=body, content_type=content_type) == 200

    result = (await machine.result(sample)).to_dict()
    assert result["mean"] == 2.5
    assert result["sample_update_time"] == encoding.to_datetime(header.update_time)


async def test_an_event_without_a_body_of_a_missing_sample_is_acknowledged(machine: Machine, submitter: str) -> None:
    """The sample was deleted after the event was sent."""
    sample = new_sample(submitter)

    assert await machine.deliver(path=document_paths.sample(submitter, sample.header.id), body=b"") == 200
    assert not (await machine.result(sample)).exists


async def test_a_deleted_sample_gets_no_result(machine: Machine, submitter: str) -> None:
    """The event of a deletion contains the deleted document, which must not be computed."""
    sample = new_sample(submitter)
    header = await machine.store(sample)

    assert await machine.deliver(old_value=header) == 200
    assert not (await machine.result(sample)).exists


async def test_a_rejected_sample_gets_no_result(machine: Machine, submitter: str) -> None:
    """Its header contains the problems."""
    sample = received_sample(b'{"time_stamp": "2019-05-01", "data": []}', submitter=submitter)
    assert sample.header.arrival is Arrival.REJECTED
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200
    assert not (await machine.result(sample)).exists


async def test_concurrent_samples_have_their_own_results(machine: Machine, submitter: str) -> None:
    """Results share BatchWrite calls."""
    samples = [new_sample(submitter, float(number), number + 1.0) for number in range(100)]
    headers = await asyncio.gather(*map(machine.store, samples))

    assert set(await asyncio.gather(*map(machine.deliver, headers))) == {200}

    results = await asyncio.gather(*map(machine.result, samples))
    assert [result.get("mean") for result in results] == [number + 0.5 for number in range(100)]


async def test_events_of_other_documents_are_acknowledged(machine: Machine, submitter: str) -> None:
    """A retry would not help."""
    handmade = await machine.put(f"submitters/{submitter}/samples/hand-made", {"hello": "world"})
    other = encoding.to_write(f"{DATABASE}/documents/{document_paths.api_key('00')}", {}).update

    assert await machine.deliver(handmade) == 200
    assert await machine.deliver(other) == 200
    assert not (await machine.client.document(document_paths.result(submitter, "hand-made")).get()).exists
    assert f"sample {submitter}/hand-made: event ignored" in machine.function.log.read_text()


async def test_events_fail_with_503_while_firestore_is_down(own_machine: Machine, submitter: str) -> None:
    """Eventarc redelivers them then. The log has one line per event and no traceback."""
    sample = new_sample(submitter)
    header = await own_machine.store(sample)
    await own_machine.firestore.stop()

    rejected = await asyncio.gather(*(own_machine.deliver(header) for _ in range(3)))
    await own_machine.firestore.start()
    status = await own_machine.deliver_until_accepted(header)

    assert rejected == [503] * 3
    assert status == 200
    assert (await own_machine.result(sample)).get("status") == "COMPUTED"
    log = own_machine.function.log.read_text()
    line = f"sample {submitter}/{sample.header.id}: responded 503, so Eventarc sends the event again: "
    assert f"{line}Firestore did not confirm the write within 8 s" in log
    assert "Traceback" not in log


async def test_the_function_stops_on_a_signal_without_output(own_machine: Machine, submitter: str) -> None:
    """The log would show tasks that were not awaited, or a traceback."""
    header = await own_machine.store(new_sample(submitter))
    assert await own_machine.deliver(header) == 200

    assert await own_machine.function.stop() in (0, -15)
    assert own_machine.function.log.read_text() == ""


async def test_a_small_sample_does_not_wait_for_the_samples_of_another_submitter(
    machine: Machine, submitter: str
) -> None:
    """Each of these takes several milliseconds. The small sample is computed before most of them."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%d%b]}'
    others = [received_sample(raw % (n, b",1" * 120_000), submitter=f"{submitter}-other") for n in range(60)]
    headers = [await machine.store(sample) for sample in others]
    small = await machine.store(new_sample(submitter))

    delivered = {asyncio.create_task(machine.deliver(header)) for header in headers}
    await asyncio.wait(delivered, return_when=asyncio.FIRST_COMPLETED)
    assert await machine.deliver(small) == 200
    computed_before = sum(task.done() for task in delivered)

    assert set(await asyncio.gather(*delivered)) == {200}
    assert computed_before < 40

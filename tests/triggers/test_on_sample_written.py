"""The function as it runs: events over HTTP to functions-framework, documents in a real Firestore."""

import asyncio
import json
import signal
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import zstandard

from documents import Arrival, Sample, fields, names, timestamps
from documents.sample import CHUNK_BYTES
from tests.triggers.machine import DATABASE, ROOT, Machine
from triggers.summary import summarise

FIXTURE = ROOT / "fixture"


@pytest.fixture
def submitter() -> str:
    """A tenant for one test."""
    return f"tenant-{uuid.uuid4()}"


def _sample(submitter: str, *values: float, time_stamp: str = "2019-05-01T06:00:00-04:00") -> Sample:
    raw = json.dumps({"time_stamp": time_stamp, "data": values or [1.0, 2.0, 4.5]}).encode()
    return Sample.receive(raw, submitter=submitter)


def _large_sample(submitter: str) -> tuple[Sample, "np.typing.NDArray[np.float64]"]:
    values = np.random.default_rng(3).normal(1e6, 2.0, size=3 * CHUNK_BYTES // 20)
    sample = _sample(submitter, *values.tolist())
    assert sample.header.chunks > 2
    return sample, values


async def test_the_fixture_comes_out_as_published(machine: Machine, submitter: str) -> None:
    """`fixture/sample.json` in, `fixture/result.json` out, to the last digit."""
    sample = Sample.receive((FIXTURE / "sample.json").read_bytes(), submitter=submitter)
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    expected = json.loads((FIXTURE / "result.json").read_text())
    assert timestamps.to_text(result["timestamp"]) == expected["timestamp"]
    assert {name: result[name] for name in expected if name != "timestamp"} == {
        name: expected[name] for name in expected if name != "timestamp"
    }
    assert result["status"] == "COMPUTED"
    assert result["sample_update_time"] == fields.to_datetime(header.update_time)
    assert abs((datetime.now(UTC) - result["computed_at"]).total_seconds()) < 60


async def test_the_same_event_ten_times_and_late_is_one_result(machine: Machine, submitter: str) -> None:
    """The first one writes; the nine beside it and the one long after change nothing."""
    sample = _sample(submitter)
    header = await machine.store(sample)

    assert await asyncio.gather(*(machine.deliver(header) for _ in range(10))) == [200] * 10
    first = await machine.result(sample)
    assert await machine.deliver(header) == 200
    later = await machine.result(sample)

    assert first.exists
    assert (later.update_time, later.create_time) == (first.update_time, first.create_time)


async def test_a_touched_sample_is_computed_again(machine: Machine, submitter: str) -> None:
    """Asking again is a write to the header: the newer event replaces the result."""
    sample = _sample(submitter)
    header = await machine.store(sample)
    await machine.deliver(header)
    touched = await machine.touch(header)

    assert await machine.deliver(touched, old_value=header) == 200

    result = (await machine.result(sample)).to_dict()
    assert result["sample_update_time"] == fields.to_datetime(touched.update_time)


async def test_an_older_event_after_a_newer_one_writes_nothing(machine: Machine, submitter: str) -> None:
    """Events come in any order; what is newest stays."""
    sample = _sample(submitter)
    older = await machine.store(sample)
    newer = await machine.touch(older)
    await machine.deliver(newer, old_value=older)
    before = await machine.result(sample)

    assert await machine.deliver(older) == 200

    after = await machine.result(sample)
    assert after.update_time == before.update_time
    assert after.get("sample_update_time") == fields.to_datetime(newer.update_time)


async def test_events_of_all_ages_at_once_leave_the_newest(machine: Machine, submitter: str) -> None:
    """However they race, each looks again after it lost, and none overwrites what is newer."""
    sample = _sample(submitter)
    versions = [await machine.store(sample)]
    for _ in range(5):
        versions.append(await machine.touch(versions[-1]))
    newest = fields.to_datetime(versions[-1].update_time)

    for _ in range(5):
        shuffled = [versions[index] for index in np.random.default_rng(1).permutation(len(versions))]
        statuses = await asyncio.gather(*(machine.deliver(version) for version in shuffled))

        assert set(statuses) == {200}
        assert (await machine.result(sample)).get("sample_update_time") == newest
        await machine.client.document(names.result(submitter, sample.header.id)).delete()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "application/protobuf"), (b"\n\xff", "application/protobuf"), (b"{}", "application/json")],
    ids=["none", "torn", "JSON"],
)
async def test_an_event_without_its_body_is_computed_all_the_same(
    machine: Machine, submitter: str, body: bytes, content_type: str
) -> None:
    """Eventarc leaves out bodies that are too large; the sample is read by its name then."""
    sample = _sample(submitter)
    header = await machine.store(sample)
    path = names.sample(submitter, sample.header.id)

    assert await machine.deliver(path=path, body=body, content_type=content_type) == 200

    result = (await machine.result(sample)).to_dict()
    assert result["mean"] == 2.5
    assert result["sample_update_time"] == fields.to_datetime(header.update_time)


async def test_an_event_without_its_body_of_a_sample_that_is_gone_is_done(machine: Machine, submitter: str) -> None:
    """There is nothing to compute and nothing to wait for."""
    sample = _sample(submitter)

    assert await machine.deliver(path=names.sample(submitter, sample.header.id), body=b"") == 200
    assert not (await machine.result(sample)).exists


async def test_a_deleted_sample_gets_no_result(machine: Machine, submitter: str) -> None:
    """The event of a deletion carries what was deleted; that is not to be computed."""
    sample = _sample(submitter)
    header = await machine.store(sample)

    assert await machine.deliver(old_value=header) == 200
    assert not (await machine.result(sample)).exists


async def test_a_rejected_sample_gets_no_result(machine: Machine, submitter: str) -> None:
    """Its problems are in the header since it came."""
    sample = Sample.receive(b'{"time_stamp": "2019-05-01", "data": []}', submitter=submitter)
    assert sample.header.arrival is Arrival.REJECTED
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200
    assert not (await machine.result(sample)).exists


@pytest.mark.parametrize(
    ("raw", "path", "code"),
    [
        (b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, null]}', "$.data[1]", "WRONG_TYPE"),
        (b'{"time_stamp": "2019-05-01T06:00:00", "data": [1]}', "$.time_stamp", "NO_UTC_OFFSET"),
    ],
)
async def test_what_can_never_be_computed_becomes_a_failed_result(
    machine: Machine, submitter: str, raw: bytes, path: str, code: str
) -> None:
    """An accepted sample that this version cannot read is done, and says why; it is not sent again."""
    sample = Sample.receive(raw, submitter=submitter)
    header = await machine.store(sample, state_on_arrival="ACCEPTED")

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["problem"]["path"], result["problem"]["code"]) == ("FAILED", path, code)
    assert "mean" not in result
    line = f"{submitter}/{sample.header.id} FAILED: {result['problem']['message']}"
    assert machine.function.log.read_text().count(line) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"problems": 5},
        {"problems": [5]},
        {"time_zone": "Nowhere/City"},
        {"time_zone": "Europe"},
        {"count": "many"},
        {"shard": "9" * 30},
    ],
    ids=lambda damage: next(iter(damage)),
)
async def test_what_fails_each_time_fails_once(machine: Machine, submitter: str, damage: dict[str, object]) -> None:
    """A fault that is nobody's to cure by waiting is a result too, and its traceback is in the log."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00", "data": [1]}'
    sample = Sample.receive(raw, submitter=submitter, time_zone="Europe/Zurich")
    header = await machine.store(sample, **damage)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["problem"]["code"], result["shard"]) == ("FAILED", "NOT_COMPUTABLE", 0)
    _, found, after = machine.function.log.read_text().partition(
        f"{submitter}/{sample.header.id} can never be computed"
    )
    assert found
    assert after.lstrip().startswith("Traceback")


async def test_a_large_sample_does_not_wait_for_ever_for_its_turn(own_machine: Machine, submitter: str) -> None:
    """While another one is stuck, it is sent again later instead of being computed for a caller who has gone."""
    samples = [_large_sample(submitter)[0] for _ in range(2)]
    headers = [await own_machine.store(sample) for sample in samples]
    firestore = own_machine.firestore.running
    assert firestore is not None

    firestore.send_signal(signal.SIGSTOP)
    try:
        delivered = {asyncio.create_task(own_machine.deliver(header)) for header in headers}
        (refused,), waiting = await asyncio.wait(delivered, return_when=asyncio.FIRST_COMPLETED)
    finally:
        firestore.send_signal(signal.SIGCONT)

    assert refused.result() == 503
    assert await waiting.pop() == 200
    assert [await _until_accepted(own_machine, header) for header in headers] == [200, 200]
    assert "is to be sent again: other large samples are being computed" in own_machine.function.log.read_text()


async def test_a_sample_that_is_not_what_was_submitted_fails(machine: Machine, submitter: str) -> None:
    """A result must never be computed from other bytes than those that were acknowledged."""
    sample = _sample(submitter)
    header = await machine.store(sample, raw=sample.raw.decode().replace("4.5", "5.5"))

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"


async def test_a_sample_in_chunks_is_put_together_in_their_order(machine: Machine, submitter: str) -> None:
    """The header holds no raw document then; its chunks are read, decompressed and checked."""
    sample, values = _large_sample(submitter)
    header = await machine.store(sample)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    expected = json.loads(json.dumps(asdict(summarise(values))))  # tuples become lists
    assert {name: result[name] for name in expected} == expected


@pytest.mark.parametrize("fault", ["missing", "torn"])
async def test_a_sample_with_a_bad_chunk_fails(machine: Machine, submitter: str, fault: str) -> None:
    """Chunks are written before the header, so one that is not right will never be."""
    sample, _ = _large_sample(submitter)
    header = await machine.store(sample)
    chunk = machine.client.document(names.chunk(submitter, sample.header.id, sample.header.sha256, 1))
    if fault == "missing":
        await chunk.delete()
    else:
        await chunk.set({"data": zstandard.compress(b"x" * 100)[:-3]})

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"


async def test_a_hundred_samples_at_once_have_each_their_own_result(machine: Machine, submitter: str) -> None:
    """Results share calls to Firestore, never their content."""
    samples = [_sample(submitter, float(number), number + 1.0) for number in range(100)]
    headers = await asyncio.gather(*map(machine.store, samples))

    assert set(await asyncio.gather(*map(machine.deliver, headers))) == {200}

    results = await asyncio.gather(*map(machine.result, samples))
    assert [result.get("mean") for result in results] == [number + 0.5 for number in range(100)]


async def test_events_about_other_documents_are_done_at_once(machine: Machine, submitter: str) -> None:
    """To send them again would not make samples of them."""
    foreign = await machine.put(f"submitters/{submitter}/samples/hand-made", {"hello": "world"})
    other = fields.to_write(f"{DATABASE}/documents/{names.api_key('00')}", {}).update

    assert await machine.deliver(foreign) == 200
    assert await machine.deliver(other) == 200
    assert not (await machine.client.document(names.result(submitter, "hand-made")).get()).exists
    assert f"{submitter}/hand-made ignored" in machine.function.log.read_text()


async def test_while_firestore_is_down_events_are_sent_again(own_machine: Machine, submitter: str) -> None:
    """To answer other than 2xx is to say "send it again"; then nothing is lost, and nothing is logged twice."""
    sample = _sample(submitter)
    header = await own_machine.store(sample)
    await own_machine.firestore.stop()

    refused = await asyncio.gather(*(own_machine.deliver(header) for _ in range(3)))
    await own_machine.firestore.start()
    status = await _until_accepted(own_machine, header)

    assert refused == [503] * 3
    assert status == 200
    assert (await own_machine.result(sample)).get("status") == "COMPUTED"
    log = own_machine.function.log.read_text()
    assert f"{submitter}/{sample.header.id} is to be sent again: Firestore: UNAVAILABLE" in log
    assert "Traceback" not in log


async def _until_accepted(machine: Machine, header: Any) -> int:
    async with asyncio.timeout(10):
        while True:
            status = await machine.deliver(header)
            if status != 503:
                return status
            await asyncio.sleep(0.05)


async def test_it_ends_quietly_when_it_is_asked_to(own_machine: Machine, submitter: str) -> None:
    """What is under way is finished, and nothing is printed."""
    header = await own_machine.store(_sample(submitter))
    assert await own_machine.deliver(header) == 200

    assert await own_machine.function.stop() in (0, -15)
    assert own_machine.function.log.read_text() == ""

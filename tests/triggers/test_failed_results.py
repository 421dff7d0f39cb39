"""What can never be computed: a result says so, once."""

import pytest

from storage.documents import Sample
from tests.triggers.machine import Machine
from tests.triggers.samples import new_sample


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
    _, found, after = machine.function.log.read_text().partition(f"{submitter}/{sample.header.id} cannot be computed")
    assert found
    assert after.lstrip().startswith("Traceback")


async def test_a_sample_that_is_not_what_was_submitted_fails(machine: Machine, submitter: str) -> None:
    """A result must never be computed from other bytes than those that were acknowledged."""
    sample = new_sample(submitter)
    header = await machine.store(sample, raw=sample.raw.decode().replace("4.5", "5.5"))

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"

"""A sample that can never be computed has a FAILED result with the problem."""

import pytest

from tests.received import received_sample
from tests.triggers.machine import Machine
from tests.triggers.samples import new_sample


@pytest.mark.parametrize(
    ("raw", "path", "code"),
    [
        (b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, null]}', "$.data[1]", "WRONG_TYPE"),
        (b'{"time_stamp": "2019-05-01T06:00:00", "data": [1]}', "$.time_stamp", "NO_UTC_OFFSET"),
    ],
)
async def test_an_unreadable_sample_has_a_failed_result(
    machine: Machine, submitter: str, raw: bytes, path: str, code: str
) -> None:
    """The event is acknowledged, although the header says that the sample was accepted."""
    sample = received_sample(raw, submitter=submitter)
    header = await machine.store(sample, state_on_arrival="ACCEPTED")

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["problem"]["path"], result["problem"]["code"]) == ("FAILED", path, code)
    assert "mean" not in result
    line = f"{submitter}/{sample.header.id}: FAILED: {result['problem']['message']}"
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
async def test_a_damaged_header_has_a_failed_result(
    machine: Machine, submitter: str, damage: dict[str, object]
) -> None:
    """A retry would fail too. The log has the traceback."""
    raw = b'{"time_stamp": "2019-05-01T06:00:00", "data": [1]}'
    sample = received_sample(raw, submitter=submitter, time_zone="Europe/Zurich")
    header = await machine.store(sample, **damage)

    assert await machine.deliver(header) == 200

    result = (await machine.result(sample)).to_dict()
    assert (result["status"], result["problem"]["code"], result["shard"]) == ("FAILED", "NOT_COMPUTABLE", 0)
    _, line, after = machine.function.log.read_text().partition(
        f"sample {submitter}/{sample.header.id}: cannot compute the statistics"
    )
    assert line
    assert after.lstrip().startswith("Traceback")


async def test_a_sample_that_differs_from_the_submitted_one_has_a_failed_result(
    machine: Machine, submitter: str
) -> None:
    """Statistics are computed only from the bytes that were acknowledged."""
    sample = new_sample(submitter)
    header = await machine.store(sample, raw=sample.raw.decode().replace("4.5", "5.5"))

    assert await machine.deliver(header) == 200
    assert (await machine.result(sample)).get("problem")["code"] == "INCOMPLETE"

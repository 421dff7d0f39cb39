"""Events of the sender that do not show the sample as it is: late ones, and ones that no write has caused."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.documents import document_paths
from storage.firestore import encoding
from tests.triggers.machine import Machine, event_body, event_headers
from tests.triggers.samples import new_sample


@pytest.mark.parametrize("year", [2019, 9999], ids=["past", "future"])
async def test_an_event_with_the_update_time_of_no_version_changes_nothing(
    machine: Machine, submitter: str, year: int
) -> None:
    """A result with a future update time would otherwise never be replaced."""
    sample = new_sample(submitter)
    header = await machine.store(sample)
    await machine.deliver(header)
    before = await machine.result(sample)
    forged = type(header)()
    forged.CopyFrom(header)
    forged.update_time.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))

    assert await machine.deliver(forged) == 200

    assert (await machine.result(sample)).update_time == before.update_time
    assert await machine.deliver(await machine.touch(header)) == 200
    assert (await machine.result(sample)).update_time > before.update_time


@pytest.mark.parametrize("age", [timedelta(hours=-1), timedelta(minutes=2)], ids=["future", "late"])
async def test_a_sample_that_does_not_exist_has_no_result(machine: Machine, submitter: str, age: timedelta) -> None:
    """It was deleted before its event arrived."""
    sample = new_sample(submitter)
    header = await machine.store(sample)
    await machine.client.document(document_paths.sample(submitter, sample.header.id)).delete()
    header.update_time.FromDatetime(datetime.now(UTC) - age)

    assert await machine.deliver(header) == 200
    assert not (await machine.result(sample)).exists


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_correction_shortly_before_the_sample_expires_counts(
    machine: Machine, submitter: str, is_kept: bool
) -> None:
    """The sample has expired when its event arrives. A kept result leaves the lists. A deleted one is not written."""
    sample = new_sample(submitter)
    header = await machine.store(sample)
    await machine.deliver(header)
    document = machine.client.document(document_paths.sample(submitter, sample.header.id))
    await document.delete()
    if not is_kept:
        await machine.client.document(document_paths.result(submitter, sample.header.id)).delete()
    header.fields["superseded_by"].string_value = "correction"
    header.update_time.FromDatetime(datetime.now(UTC) + timedelta(hours=1))  # the function reads the documents

    assert await machine.deliver(header) == 200

    result = await machine.result(sample)
    assert (result.exists, result.exists and result.get("status")) == (is_kept, is_kept and "SUPERSEDED")


async def test_the_log_shows_control_characters_escaped(machine: Machine) -> None:
    """An event could otherwise write lines of its own, or change the terminal of an operator."""
    name = "projects/p/databases/(default)/documents/submitters/one/samples/\x1b[31mx\nforged: \u202eline"
    document = encoding.to_write(name, {"state_on_arrival": "ACCEPTED"}).update
    escapes = {**event_headers("one"), "ce-id": "id\x1b[2J", "ce-type": "other\x9b31m"}
    headers = [(key.encode(), text.encode("latin-1")) for key, text in escapes.items()]
    written = event_headers("one") | {"ce-id": "%0Aforged"}

    assert (await machine.http.post("/", content=b"", headers=headers)).status_code in (200, 400)
    assert (await machine.http.post("/", content=event_body(document), headers=written)).status_code == 200

    log = machine.function.log.read_text()
    assert r"\x1b[31mx\nforged: \u202eline is not a sample" in log
    assert all(line.isprintable() for line in log.splitlines())
    assert not any(line.startswith("forged") for line in log.splitlines())

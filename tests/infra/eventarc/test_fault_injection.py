"""Fault injection duplicates, delays, reorders and repeats events, controlled by a seed."""

from typing import Any

import pytest

from tests.infra.eventarc.machine import Firestore, Function, until

NAMES = [f"samples/{number:02}" for number in range(40)]


async def test_every_event_is_duplicated(firestore: Firestore, function: Function, on_written: dict[str, Any]) -> None:
    """Both copies have the same id."""
    await firestore.start(on_written | {"fault_injection": {"duplicate_probability": 1.0}})

    await firestore.write(*NAMES)
    await until(lambda: len(function.events) == 80)

    assert sorted(function.documents) == sorted(NAMES * 2)
    assert len({event.id for event in function.events}) == 40


async def test_an_event_whose_acknowledgement_is_dropped_is_sent_again(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """In the end every event is acknowledged."""
    await firestore.start(on_written | {"fault_injection": {"drop_acknowledgement_probability": 0.5, "seed": 1}})

    await firestore.write(*NAMES)
    await until(lambda: set(function.documents) == set(NAMES))
    await firestore.until_rows("change_consumers", "sequence", [(40,)])
    await firestore.until_rows("eventarc_undelivered", "*", [])

    assert len(function.events) > 50


@pytest.mark.parametrize("faults", [{"reorder_probability": 0.5}, {"delay_probability": 0.5, "max_delay_seconds": 0.3}])
async def test_events_arrive_in_another_order(
    firestore: Firestore, function: Function, on_written: dict[str, Any], faults: dict[str, float]
) -> None:
    """Each event arrives once, but not in the order of the writes."""
    await firestore.start(on_written | {"fault_injection": faults})

    await firestore.write(*NAMES)
    await until(lambda: len(function.events) == 40)

    assert function.documents != NAMES
    assert sorted(function.documents) == NAMES


async def test_the_seed_selects_the_faults(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """The same seed duplicates the same events; another seed duplicates others."""
    seeds = {"a": 7, "b": 7, "c": 8}
    await firestore.start(
        *(
            on_written
            | {"name": name, "location": name, "fault_injection": {"duplicate_probability": 0.3, "seed": seed}}
            for name, seed in seeds.items()
        )
    )

    await firestore.write(*NAMES)
    for name in seeds:
        await firestore.until_rows(f"change_consumers WHERE name = 'eventarc/{name}'", "sequence", [(40,)])

    received = {
        name: sorted(event.document for event in function.events if event.headers["ce-location"] == name)
        for name in seeds
    }
    assert received["a"] == received["b"] != received["c"]
    assert 40 < len(received["a"]) < 80


async def test_an_event_is_lost_at_its_first_attempt(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """It counts as acknowledged, as after an error of the delivery itself."""
    await firestore.start(on_written | {"fault_injection": {"loss_probability": 0.5, "seed": 1}})

    await firestore.write(*NAMES)
    await firestore.until_rows("change_consumers", "sequence", [(40,)])

    assert 0 < len(function.events) < 40
    assert len(set(function.documents)) == len(function.events)

"""What goes wrong on purpose, with a seed."""

from typing import Any

import pytest

from tests.infra.eventarc.machine import Firestore, Function, until

NAMES = [f"samples/{number:02}" for number in range(40)]


async def test_duplicates(firestore: Firestore, function: Function, on_written: dict[str, Any]) -> None:
    """Every event twice, as the same event."""
    await firestore.start(on_written | {"fault_injection": {"duplicate": 1.0}})

    await firestore.write(*NAMES)
    await until(lambda: len(function.events) == 80)

    assert sorted(function.documents) == sorted(NAMES * 2)
    assert len({event.id for event in function.events}) == 40


async def test_acknowledgements_that_get_lost(
    firestore: Firestore, function: Function, on_written: dict[str, Any]
) -> None:
    """What was delivered is delivered again, and in the end each is acknowledged."""
    await firestore.start(on_written | {"fault_injection": {"drop_acknowledgement": 0.5, "seed": 1}})

    await firestore.write(*NAMES)
    await until(lambda: set(function.documents) == set(NAMES))
    await firestore.until_rows("change_consumers", "sequence", [(40,)])
    await firestore.until_rows("eventarc_failed", "*", [])

    assert len(function.events) > 50


@pytest.mark.parametrize("how", [{"reorder": 0.5}, {"delay": 0.5, "delay_seconds": 0.3}])
async def test_another_order(
    firestore: Firestore, function: Function, on_written: dict[str, Any], how: dict[str, float]
) -> None:
    """Each event once, but not in the order of the writes."""
    await firestore.start(on_written | {"fault_injection": how})

    await firestore.write(*NAMES)
    await until(lambda: len(function.events) == 40)

    assert function.documents != NAMES
    assert sorted(function.documents) == NAMES


async def test_the_seed_decides(firestore: Firestore, function: Function, on_written: dict[str, Any]) -> None:
    """The same seed sends the same events twice; another seed others."""
    seeds = {"a": 7, "b": 7, "c": 8}
    await firestore.start(
        *(
            on_written | {"name": name, "location": name, "fault_injection": {"duplicate": 0.3, "seed": seed}}
            for name, seed in seeds.items()
        )
    )

    await firestore.write(*NAMES)
    for name in seeds:
        await firestore.until_rows(f"change_consumers WHERE name = 'eventarc/{name}'", "sequence", [(40,)])

    got = {
        name: sorted(event.document for event in function.events if event.headers["ce-location"] == name)
        for name in seeds
    }
    assert got["a"] == got["b"] != got["c"]
    assert 40 < len(got["a"]) < 80

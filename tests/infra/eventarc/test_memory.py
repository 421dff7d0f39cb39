"""An event leaves the memory when it is acknowledged. It can have 2 MiB, and hundreds can be in flight."""

import gc
from collections import Counter
from typing import Any

import pytest

from infra.embedded.eventarc.delivery import fair_queue
from infra.embedded.eventarc.delivery.delivery import Delivery
from infra.embedded.firestore.storage.versions import Change
from tests.infra.eventarc.machine import Event, Firestore, Function, until

PATHS = [f"samples/{number}" for number in range(200)]


def _events() -> list[object]:
    return [each for each in gc.get_objects() if type(each) in (Change, Delivery)]


@pytest.mark.parametrize("max_loaded", [1_000, 4], ids=["in memory", "as positions"])
@pytest.mark.parametrize("failures", [0, 1])
async def test_acknowledged_events_leave_the_memory(
    firestore: Firestore,
    function: Function,
    on_written: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    max_loaded: int,
    failures: int,
) -> None:
    """The tasks that read and send events wait for the next event without the last one."""
    monkeypatch.setattr(fair_queue, "MAX_LOADED_EVENTS", max_loaded)
    of_other_tests = _events()
    known = set(map(id, of_other_tests))
    attempts = Counter[str]()

    async def respond(event: Event) -> int:
        attempts[event.document] += 1
        return 200 if attempts[event.document] > failures else 500

    function.respond = respond
    await firestore.start(on_written)
    await firestore.write(*PATHS)

    await until(lambda: len(function.events) == len(PATHS) * (failures + 1))
    await until(lambda: known.issuperset(map(id, _events())))

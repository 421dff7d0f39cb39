"""A list of samples is stored in parts. The client gets the true outcome of each sample."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from graphql_api.ingest.admission import parts_of, store_in_parts
from graphql_api.ingest.repeated_samples import Outcome
from storage.documents import Conflict, Header, NotJson, Unavailable
from tests.graphql_api.ingest.conftest import LARGE, SMALL, SUBMITTER, Api, before

SENDER: Any = SimpleNamespace(submitter=SUBMITTER, operator="", limits=None, label="key")


def test_a_long_list_is_stored_in_parts() -> None:
    """Each sample is in memory several times until it is stored. The order stays the same."""
    small, medium = b"0" * 60, b"0" * 240_000

    assert list(parts_of([])) == [[]]
    assert list(parts_of([small] * 1_000)) == [[small] * 1_000]
    parts = list(parts_of([small, *[medium] * 20, small]))
    assert [len(part) for part in parts] == [9, 8, 5]
    assert [sample for part in parts for sample in part] == [small, *[medium] * 20, small]


async def test_the_parts_after_a_part_that_is_not_stored_are_not_tried() -> None:
    """During an outage, each part waits for the write timeout. The client still learns what was stored."""
    parts: list[Sequence[bytes]] = []

    async def store(part: Sequence[bytes]) -> list[Outcome]:
        parts.append(part)
        return [Conflict("stored before") if len(parts) == 1 else Unavailable("no response")] * len(part)

    outcomes = await store_in_parts([bytes(2**20)] * 8, store)

    assert [len(part) for part in parts] == [2, 2]
    assert [str(outcome) for outcome in outcomes[:4]] == ["stored before"] * 2 + ["no response"] * 2
    assert [type(outcome) for outcome in outcomes[4:]] == [Unavailable] * 4


async def test_samples_whose_settings_cannot_be_read_fail_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large sample of the same list reads them earlier, and is stored."""

    async def fail(*_: Any, **__: Any) -> None:
        raise Unavailable("Firestore restarts")

    before(monkeypatch, api.receiver, "_store", fail)

    outcomes = await api.receiver.receive_all([SMALL, LARGE, SMALL], sender=SENDER)

    assert [type(outcome) for outcome in outcomes] == [Unavailable, Header, Unavailable]


async def test_a_sample_that_is_not_utf_8_fails_alone(api: Api) -> None:
    """Even if it is nested so deeply that nothing else in it is checked."""
    binary = b'{"note":' + b"[" * 70 + b'"\xff"' + b"]" * 70 + b"}"

    outcomes = await api.receiver.receive_lines([SMALL, binary, SMALL], sender=SENDER, labels={}, content_key=None)

    assert [type(outcome) for outcome in outcomes] == [Header, NotJson, Header]
    assert str(outcomes[1]) == f"not JSON: byte {binary.index(0xFF)} is not UTF-8"

"""The rollups of a day in documents: no document gets too large, and no write is needed to be complete."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.rollups import day_rollups
from storage.rollups.day_rollups import DayRollups
from storage.rollups.merged_statistics import MergedStatistics, ResultStatistics
from storage.rollups.rollup import Snapshot

DAY = date(2026, 11, 28)
MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)
MAX_NEW_BYTES, MAX_BYTES = 700, 1_000
Stored = dict[int, Mapping[str, Any]]
"""The fields of stored documents by number."""

hours = st.dictionaries(st.sampled_from("abcdef"), st.sets(st.integers(0, 3), min_size=1), min_size=1)


async def no_pause() -> None:
    """Let no other work run."""


def snapshot(turn: int) -> Snapshot:
    """Return statistics as of a time that is later in each turn."""
    merged = MergedStatistics()
    for _ in range(turn + 1):
        merged.add(ResultStatistics(1, 1.0, 0.0, 1.0, 1.0), None)
    return Snapshot.of(MIDNIGHT + turn * timedelta(minutes=1), merged)


async def load(stored: Stored) -> DayRollups:
    """Return the rollups in stored documents."""
    rollups = DayRollups(DAY)
    for number, fields in sorted(stored.items()):
        await rollups.add_document(number, fields, MIDNIGHT, no_pause)
    return rollups


def contents(rollups: DayRollups) -> dict[tuple[datetime, str], int]:
    """Return the number of results of each hour and series."""
    return {key: snapshot.results for key, snapshot in rollups.hours()}


async def change(
    stored: Stored, added: Mapping[str, set[int]], turn: int, written: int = 100, *, is_reversed: bool = False
) -> DayRollups:
    """Set some hours, write up to `written` documents, and return the changed rollups.

    The documents of a list are written in any order.
    """
    rollups = await load(stored)
    for series, numbers in added.items():
        for hour in numbers:
            rollups.put(MIDNIGHT + hour * timedelta(hours=1), series, snapshot(turn))
    lists = await rollups.documents(no_pause)
    documents = [each for turn in lists for each in (reversed(turn) if is_reversed else turn)]
    stored |= {document.number: rollups.fields(document) for document in documents[:written]}
    return rollups


@settings(max_examples=200)
@given(st.lists(st.tuples(hours, st.integers(0, 6), st.booleans()), min_size=2, max_size=6))
@example([({"a": {0}, "b": {0}, "c": {0}}, 3, False), ({"a": {1, 2}, "b": {1, 2}, "c": {1, 2}}, 1, False)])
def test_each_series_has_its_latest_hours_although_writes_are_missing(
    turns: list[tuple[dict[str, set[int]], int, bool]],
) -> None:
    """Series move to new documents. If the process is killed between the writes, readers find what was there before.

    They find the new hours too if the document that has them was written.
    """

    async def run() -> None:
        stored: Stored = {}
        for turn, (added, written, is_reversed) in enumerate(turns):
            before = contents(await load(stored))
            expected = contents(await change(stored, added, turn, written, is_reversed=is_reversed))
            after = contents(await load(stored))
            latest = Counter[tuple[datetime, str]]()
            for fields in stored.values():
                latest |= Counter(contents(await load({0: fields})))
            assert after == latest
            assert before.keys() <= after.keys() <= expected.keys()
            assert all(after[key] in (before.get(key), expected[key]) for key in after)
        expected = contents(await change(stored, {"a": {0}}, len(turns)))
        assert contents(await load(stored)) == expected
        sizes = [
            sum(len(each) for each in (*fields["hours"].values(), *fields["totals"].values()))
            for fields in stored.values()
        ]
        assert max(sizes) <= MAX_BYTES
        series = [each for fields in stored.values() for each in fields["hours"]]
        assert sorted(series) == sorted({each for _, each in expected})
        assert all(fields["hours"].keys() == fields["totals"].keys() for fields in stored.values())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(day_rollups, "MAX_NEW_BYTES", MAX_NEW_BYTES)
        patch.setattr(day_rollups, "MAX_BYTES", MAX_BYTES)
        asyncio.run(run())

"""A count from keys is the number of results, also after other counts and at any read time."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.queries import counts as counting
from infra.embedded.firestore.queries import later_changes, result_pages, scanner, structured_query
from infra.embedded.firestore.queries.counts import Counts
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes.pruning import prune
from tests.infra.firestore.queries.cases import ROOT, Case, commit, count_reads

_paths = st.sampled_from([*(f"t/{number}" for number in range(5)), "t/1/t/0"])
_documents = st.fixed_dictionaries({"a": st.integers(1, 2), "b": st.integers(1, 3), "c": st.integers(1, 2)})
_commits = st.lists(st.dictionaries(_paths, st.one_of(st.none(), _documents), min_size=1), min_size=1, max_size=6)


TWO_RANGES = Case(lower=2, upper=1)
CASES = [
    Case(),
    Case(lower=2),
    Case(limit=2),
    TWO_RANGES,
    Case(values=(1, 2)),
    Case(values=(1, 2), limit=3),
    Case(values=(1, 2, 3), lower=2, upper=1),
]


async def _check(batches: list[dict[str, Any]], read_at: list[int], remembers: bool) -> None:
    queries = {case: case.query() for case in CASES}
    with TemporaryDirectory() as folder:
        storage = Storage(Path(folder) / "data")
        counts = Counts(storage)
        try:
            states: list[tuple[int, dict[str, Any]]] = []
            documents: dict[str, Any] = {}
            for batch in batches:
                time = await commit(storage, batch)
                documents = {path: fields for path, fields in (documents | batch).items() if fields is not None}
                states.append((time, documents))
                for case, query in queries.items():
                    assert await counts.count(query, time) == case.expected(documents)
            for time, documents in [states[index % len(states)] for index in read_at]:
                for case, query in queries.items():
                    found = [document async for _, document in result_pages.stream(storage, query, time)]
                    counted = await (counts if remembers else Counts(storage)).count(query, time)
                    assert len(found) == case.expected(documents)
                    assert counted == len(found)
        finally:
            await storage.close()


@settings(max_examples=25, deadline=None)
@given(_commits, st.lists(st.integers(0, 5), min_size=1, max_size=4), st.booleans())
def test_a_count_is_the_number_of_results_at_any_read_time(
    batches: list[dict[str, Any]], read_at: list[int], remembers: bool
) -> None:
    """Also if earlier, later or no changes were counted, and if a collection with the same name is nested."""
    asyncio.run(_check(batches, read_at, remembers))


async def test_a_document_with_two_of_the_values_is_not_counted_twice(tmp_path: Path) -> None:
    """Keys cannot count `a == 1` with `b == 1` or `c == 1`, because a document can have both."""
    storage, query = Storage(tmp_path / "data"), Case().query()
    (a_is_1,) = query.disjunctions[0]
    alternatives = tuple((a_is_1, replace(a_is_1, field=(name,))) for name in ("b", "c"))
    try:
        time = await commit(storage, {"t/0": {"a": 1, "b": 1, "c": 1}})

        assert await Counts(storage).count(query, time) == 1
        assert await Counts(storage).count(replace(query, disjunctions=alternatives), time) is None
    finally:
        await storage.close()


def test_many_changes_are_not_read_one_by_one(monkeypatch: Any) -> None:
    """After more changes than this, the keys are counted again."""
    monkeypatch.setattr(counting, "MAX_CHANGES", 1)
    batches: list[dict[str, Any]] = [
        {f"t/{number}": {"a": 1, "b": number, "c": 1} for number in range(5)},
        {"t/0": None, "t/1": None},
    ]

    asyncio.run(_check(batches, [1, 0], remembers=True))


async def test_many_changes_are_read_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long read would hold the write-ahead log. The steps can lead back or forward."""
    monkeypatch.setattr(counting, "MAX_CHANGES_PER_READ", 3)
    storage, query, document = Storage(tmp_path / "data"), Case().query(), {"a": 1, "b": 1, "c": 1}
    counts = Counts(storage)
    try:
        times = [await commit(storage, {f"t/{turn}-{number}": document for number in range(4)}) for turn in range(5)]
        await commit(storage, {f"t/{turn}-0": None for turn in range(5)})
        reads = count_reads(storage, monkeypatch)

        assert [await counts.count(query, time) for time in times] == [4, 8, 12, 16, 20]
        assert await counts.count(query, times[0]) == 4
        assert len(reads) > 10
    finally:
        await storage.close()


async def test_more_changes_are_read_if_there_are_many_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise, each document is looked up."""
    monkeypatch.setattr(counting, "MAX_CHANGES", 1)
    monkeypatch.setattr(scanner.Scan, "count", lambda *_: pytest.fail("the documents were looked up"))
    storage = Storage(tmp_path / "data")
    document = {"a": 1, "b": 1, "c": 1}
    try:
        time = await commit(storage, {f"t/{number}": document for number in range(50)})
        await commit(storage, {"t/new": document, "t/0": None, "t/1": None})

        assert await Counts(storage).count(Case().query(), time) == 50
    finally:
        await storage.close()


async def test_a_count_of_a_later_state_is_not_used_for_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction sees no change after its start, so it cannot take back those that another count has seen."""
    storage = Storage(tmp_path / "data")
    counts, query, document = Counts(storage), Case().query(), {"a": 1, "b": 1, "c": 1}
    loop = asyncio.get_running_loop()
    check_retained = versions.check_retained

    async def count_after_another_commit() -> None:
        assert await counts.count(query, await commit(storage, {"t/1": document})) == 2

    def check(connection: sqlite3.Connection, read_time: int) -> None:
        check_retained(connection, read_time)
        monkeypatch.undo()
        asyncio.run_coroutine_threadsafe(count_after_another_commit(), loop).result()

    try:
        time = await commit(storage, {"t/0": document})
        monkeypatch.setattr(versions, "check_retained", check)

        assert await counts.count(query, time) == 1
    finally:
        await storage.close()


@pytest.mark.parametrize("max_changed_paths", [later_changes.MAX_CHANGED_PATHS, 1])
async def test_a_count_of_many_matching_keys_uses_several_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_changed_paths: int
) -> None:
    """Other reads need not wait until it has ended. Changes during the count do not count, even if many."""
    monkeypatch.setattr(counting, "MAX_PAGE_KEYS", 3)
    monkeypatch.setattr(later_changes, "MAX_CHANGED_PATHS", max_changed_paths)
    storage, query, document = Storage(tmp_path / "data"), TWO_RANGES.query(), {"a": 1, "b": 2, "c": 1}
    counts = Counts(storage)
    try:
        time = await commit(storage, {f"t/{number}": document for number in range(10)})
        reads = count_reads(storage, monkeypatch)
        assert await counts.count(query, time) == 10
        assert len(reads) >= 4
        read = storage.read

        async def change_and_read(work: Any) -> Any:
            found = await read(work)
            await commit(storage, {f"t/new-{len(reads)}": document, f"t/{len(reads)}": None})
            return found

        reads.clear()
        monkeypatch.setattr(storage, "read", change_and_read)
        assert await Counts(storage).count(query, time) == 10
        assert len(reads) >= 4
    finally:
        await storage.close()


async def test_a_count_of_many_changed_documents_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page contains only some of the documents that have changed after the read time."""
    for module in (result_pages, scanner):
        monkeypatch.setattr(module, "PAGE_DOCUMENTS", 2)
    storage, query, document = Storage(tmp_path / "data"), TWO_RANGES.query(), {"a": 1, "b": 2, "c": 1}
    try:
        time = await commit(storage, {f"t/{number}": document for number in range(10)})
        await commit(storage, {f"t/{number}": None for number in range(10)})

        assert await Counts(storage).count(query, time) == 10
    finally:
        await storage.close()


async def test_keys_are_counted_again_if_the_changes_since_the_last_count_are_pruned(tmp_path: Path) -> None:
    """The remembered number would otherwise lack these changes."""
    storage, query = Storage(tmp_path / "data", version_retention_seconds=0), Case().query()
    counts = Counts(storage)
    try:
        time = await commit(storage, {f"t/{number}": {"a": 1, "b": 1, "c": 1} for number in range(3)})
        assert await counts.count(query, time) == 3
        await commit(storage, {"t/0": None})
        time = await commit(storage, {"t/1": None})
        await prune(storage)

        assert await counts.count(query, time) == 1
    finally:
        await storage.close()


@pytest.mark.parametrize(("max_keys", "counted"), [(10, None), (1_000, 20)])
async def test_a_long_count_of_intersected_ranges_is_left_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_keys: int, counted: int | None
) -> None:
    """The caller counts the results page by page. One long read would hold up the reset of the log."""
    monkeypatch.setattr(scanner, "MAX_COUNTED_KEYS", max_keys)
    message = m.StructuredQuery()
    message.from_.add(collection_id="t")
    message.where.composite_filter.op = 1  # AND
    for field in "ac":
        condition = message.where.composite_filter.filters.add().field_filter
        condition.field.field_path, condition.op, condition.value.integer_value = field, 5, 1  # ==
    storage = Storage(tmp_path / "data")
    time = await commit(storage, {f"t/{number:02}": {"a": 1, "c": 1 + number % 2} for number in range(40)})

    found = await Counts(storage).count(structured_query.read(ROOT, message), time)
    await storage.close()

    assert found == counted

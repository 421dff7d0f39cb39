"""Queries at a read time after which documents were changed or deleted."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.queries import later_changes, result_pages, scanner, structured_query
from infra.embedded.firestore.storage.earlier_results import EarlierResults, Window
from infra.embedded.firestore.storage.storage import Storage
from tests.infra.firestore.queries.cases import ROOT, commit

STEPS = 10
DOCUMENTS = 300


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """The storage of a new file."""
    storage = Storage(tmp_path / "data")
    yield storage
    await storage.close()


def query(parent: str, collection_id: str = "t", group: bool = False) -> structured_query.Query:
    """Return the query for the documents of a collection with `a` = 1."""
    message = m.StructuredQuery()
    message.from_.add(collection_id=collection_id, all_descendants=group)
    if collection_id:
        message.where.field_filter.field.field_path, message.where.field_filter.op = "a", 5
        message.where.field_filter.value.integer_value = 1
    return structured_query.read(f"{ROOT}/{parent}".rstrip("/"), message)


async def found(storage: Storage, query: structured_query.Query, read_time: int) -> tuple[list[str], int]:
    """Return the paths of the results at a read time, and how many tens of instructions SQLite has executed."""
    steps, read = 0, storage.read

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    async def counted(work: Any) -> Any:
        def run(connection: sqlite3.Connection) -> Any:
            connection.set_progress_handler(count, STEPS)
            try:
                return work(connection)
            finally:
                connection.set_progress_handler(None, 0)

        return await read(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "read", counted)
        names = [each.name async for _, each in result_pages.stream(storage, query, read_time)]
    return [name.removeprefix(f"{ROOT}/") for name in names], steps


@pytest.mark.parametrize("max_changes", [0, 10_000], ids=["history", "changes"])
async def test_changes_below_another_parent_do_not_delay_a_query(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, max_changes: int
) -> None:
    """An export of one submitter reads many pages at one time, and the results of all others change meanwhile."""
    monkeypatch.setattr(later_changes, "MAX_CHANGES_READ_ONE_BY_ONE", max_changes)
    paths = [f"s/A/t/{number:03}" for number in range(DOCUMENTS)]
    others = [f"s/B/t/{number:03}" for number in range(DOCUMENTS)]
    await commit(storage, {path: {"a": 1} for path in paths})
    time = await commit(storage, {path: {"a": 1} for path in others})
    before, steps_before = await found(storage, query("s/A"), time)

    await commit(storage, {path: {"a": 2} for path in others})
    after, steps_after = await found(storage, query("s/A"), time)

    assert before == after == paths
    assert steps_after < 2 * steps_before


@pytest.mark.parametrize("max_changes", [0, 10_000], ids=["history", "changes"])
@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        (query(""), ["t/1"]),
        (query("t/1"), ["t/1/t/1"]),
        (query("", group=True), ["t/1", "t/1/t/1"]),
        (query("t/1", ""), ["t/1/t/1", "t/1/u/1"]),
    ],
    ids=["collection", "nested collection", "collection group", "all collections below a document"],
)
async def test_every_kind_of_query_finds_documents_that_were_changed_later(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, max_changes: int, searched: Any, expected: list[str]
) -> None:
    """The documents of other collections are not in the result."""
    monkeypatch.setattr(later_changes, "MAX_CHANGES_READ_ONE_BY_ONE", max_changes)
    paths = ["t/1", "t/1/t/1", "t/1/u/1", "t/2/u/1", "u/1"]
    time = await commit(storage, {path: {"a": 1} for path in paths})
    await commit(storage, dict.fromkeys(paths))

    assert (await found(storage, searched, time))[0] == expected


async def test_pages_after_the_first_read_only_new_changes(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export reads each page in a call of its own. All its documents can be deleted meanwhile."""
    monkeypatch.setattr(later_changes, "MIN_REMEMBERED_CHANGES", 1)
    paths = [f"t/{number:03}" for number in range(DOCUMENTS)]
    time = await commit(storage, {path: {"a": 1} for path in paths})
    await commit(storage, dict.fromkeys(paths[:-10]))
    page = replace(query(""), limit=10)
    first, first_steps = await found(storage, page, time)
    await commit(storage, dict.fromkeys(paths[-10:]))
    position = [key async for key, _ in result_pages.stream(storage, page, time)][-1]

    second, steps = await found(storage, page.starting_after(position), time)
    last, _ = await found(storage, replace(query(""), offset=DOCUMENTS - 10), time)

    assert (first, second, last) == (paths[:10], paths[10:20], paths[-10:])
    assert steps < first_steps / 5


@pytest.mark.parametrize("max_window", [3, 1_000], ids=["part of the results", "all results"])
async def test_pages_contain_documents_that_change_between_them(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, max_window: int
) -> None:
    """The remembered results are completed with these documents, in the order of the query."""
    for name, value in (("MIN_REMEMBERED_CHANGES", 1), ("MAX_WINDOW", max_window)):
        monkeypatch.setattr(later_changes, name, value)
    monkeypatch.setattr(scanner, "PAGE_DOCUMENTS", 2)
    paths = [f"t/{number:03}" for number in range(40)]
    time = await commit(storage, {path: {"a": 1} for path in paths})
    await commit(storage, dict.fromkeys(paths[::2]))
    searched, pages = replace(query(""), limit=1), list[str]()
    while page := [each async for each in result_pages.stream(storage, searched, time)]:
        pages += [document.name.removeprefix(f"{ROOT}/") for _, document in page]
        searched = searched.starting_after(page[-1][0])
        await commit(storage, {paths[-len(pages)]: {"a": 1 + len(pages) % 2}})  # from the end to the start

    assert pages == paths


@pytest.mark.parametrize("max_window", [1, 1_000], ids=["no room", "room"])
async def test_one_change_between_two_pages_is_found(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, max_window: int
) -> None:
    """The remembered results lack only this document. There may be no room for it."""
    for name, value in (("MIN_REMEMBERED_CHANGES", 1), ("MAX_WINDOW", max_window)):
        monkeypatch.setattr(later_changes, name, value)
    time = await commit(storage, {"t/1": {"a": 1}, "t/2": {"a": 1}})
    await commit(storage, {"t/1": None})
    page = replace(query(""), limit=1)
    ((position, _),) = [each async for each in result_pages.stream(storage, page, time)]

    await commit(storage, {"t/2": None})

    assert (await found(storage, page.starting_after(position), time))[0] == ["t/2"]


async def test_a_transaction_finds_no_changes_that_it_does_not_see(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transaction that started later can have remembered them. A count would count these documents twice."""
    monkeypatch.setattr(later_changes, "MIN_REMEMBERED_CHANGES", 1)
    paths = [f"t/{number:03}" for number in range(20)]
    time = await commit(storage, {path: {"a": 1} for path in paths})
    await commit(storage, dict.fromkeys(paths[:5]))
    numbers = [number for number, _ in storage.catalog.collections_in(query("").parent.database)]

    def changed(connection: sqlite3.Connection) -> int:
        changes = later_changes.LaterChanges(connection, query(""), numbers, time)
        return len(changes.results(storage.earlier_results, 100))

    with contextlib.closing(sqlite3.connect(storage.path, isolation_level=None)) as earlier:
        earlier.execute("BEGIN")
        assert changed(earlier) == 5
        await commit(storage, dict.fromkeys(paths[5:15]))
        assert await storage.read(changed) == 15

        assert changed(earlier) == 5


def test_queries_without_results_are_not_remembered_without_a_limit() -> None:
    """A query can have 50 KB of operands, and each read time is another query."""
    remembered = EarlierResults()
    for number in range(300):
        remembered.put(number, Window(None, 0, [], True))

    known = [number for number in range(300) if remembered.get(number) is not None]
    assert known == list(range(300 - len(known), 300))
    assert 0 < len(known) <= 200


async def test_a_query_after_many_other_changes_is_searched_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would read the changes of all collections since its last page."""
    for name, value in (("MIN_REMEMBERED_CHANGES", 1), ("MAX_CHANGES_READ_ONE_BY_ONE", 0), ("MAX_ADDED_CHANGES", 5)):
        monkeypatch.setattr(later_changes, name, value)
    reads = list[object]()

    def superseded_after(*arguments: object) -> list[object]:
        reads.append(arguments)
        return []

    monkeypatch.setattr(later_changes, "superseded_after", superseded_after)
    paths = [f"t/{number:03}" for number in range(10)]
    time = await commit(storage, {path: {"a": 1} for path in paths})
    await commit(storage, dict.fromkeys(paths[:5]))
    pages = [(await found(storage, query(""), time))[0]]
    for changes in (4, 6):
        await commit(storage, {f"others/{number}": {"a": changes} for number in range(changes)})
        pages.append((await found(storage, query(""), time))[0])

    assert pages == [paths] * 3
    assert len(reads) == 1


async def test_only_the_first_page_searches_the_history(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All documents were rewritten before an export, and other documents change meanwhile."""
    monkeypatch.setattr(later_changes, "MAX_CHANGES_READ_ONE_BY_ONE", 5)
    paths = [f"t/{number:03}" for number in range(DOCUMENTS)]
    for value in (1, 2, 1):
        time = await commit(storage, {path: {"a": value} for path in paths})
    await commit(storage, {f"others/{number}": {"a": 1} for number in range(6)})
    page = replace(query(""), limit=10)
    first, first_steps = await found(storage, page, time)
    position = [key async for key, _ in result_pages.stream(storage, page, time)][-1]

    second, steps = await found(storage, page.starting_after(position), time)

    assert (first, second) == (paths[:10], paths[10:20])
    assert steps < first_steps / 2

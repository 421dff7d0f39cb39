"""A count from keys is the number of results, also after other counts and at any read time."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.queries import counts as counting
from infra.embedded.firestore.queries import scanner, structured_query
from infra.embedded.firestore.queries.counts import Counts
from infra.embedded.firestore.storage.commit_group import Group
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.random_documents import DATABASE

ROOT = f"{DATABASE}/documents"

_paths = st.sampled_from([*(f"t/{number}" for number in range(5)), "t/1/t/0"])
_documents = st.fixed_dictionaries({"a": st.integers(1, 2), "b": st.integers(1, 3)})
_commits = st.lists(st.dictionaries(_paths, st.one_of(st.none(), _documents), min_size=1), min_size=1, max_size=6)


def _query(least: int | None, limit: int | None) -> structured_query.Query:
    message = m.StructuredQuery()
    message.from_.add(collection_id="t")
    if limit is not None:
        message.limit.value = limit
    filters = message.where.composite_filter
    filters.op = 1  # AND
    equal = filters.filters.add().field_filter
    equal.field.field_path, equal.op, equal.value.integer_value = "a", 5, 1  # ==
    if least is not None:
        ranged = filters.filters.add().field_filter
        ranged.field.field_path, ranged.op, ranged.value.integer_value = "b", 4, least  # >=
    return structured_query.read(ROOT, message)


QUERIES = [_query(None, None), _query(2, None), _query(None, 2)]


async def _commit(storage: Storage, batch: dict[str, dict[str, int] | None]) -> int:
    writes = []
    for path, fields in batch.items():
        name = f"{ROOT}/{path}"
        write = m.Write(delete=name) if fields is None else m.Write(update=m.Document(name=name))
        for field, value in (fields or {}).items():
            write.update.fields[field].integer_value = value
        writes.append(document_write.prepare(write, resource_names.parse(name).database))

    def work(group: Group) -> int:
        return m.microseconds(commits.commit(group, writes, commits.no_conflicts).commit_time)

    return await storage.write(work)


async def _check(batches: list[dict[str, Any]], read_at: list[int], remembers: bool) -> None:
    with TemporaryDirectory() as folder:
        storage = Storage(Path(folder) / "data")
        counts = Counts(storage)
        try:
            times = []
            for batch in batches:
                times.append(await _commit(storage, batch))
                for query in QUERIES:
                    assert await counts.count(query, times[-1]) is not None
            for time in [times[index % len(times)] for index in read_at]:
                for query in QUERIES:
                    found = [document async for _, document in scanner.stream(storage, query, time)]
                    counted = await (counts if remembers else Counts(storage)).count(query, time)
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


def test_many_changes_are_not_read_one_by_one(monkeypatch: Any) -> None:
    """After more changes than this, the keys are counted again."""
    monkeypatch.setattr(counting, "MAX_CHANGES", 1)
    batches: list[dict[str, Any]] = [
        {f"t/{number}": {"a": 1, "b": number} for number in range(5)},
        {"t/0": None, "t/1": None},
    ]

    asyncio.run(_check(batches, [1, 0], remembers=True))

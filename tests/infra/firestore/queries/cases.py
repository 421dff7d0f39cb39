"""Queries of the documents of one collection, and the writes of these documents."""

from dataclasses import dataclass
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.queries import structured_query
from infra.embedded.firestore.storage.commit_group import CommitGroup
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.writes import commits, document_write
from tests.infra.firestore.random_documents import DATABASE

ROOT = f"{DATABASE}/documents"


@dataclass(frozen=True)
class Case:
    """A query for values of `a` with an optional lower bound of `b`, an upper bound of `c` and a limit."""

    values: tuple[int, ...] = (1,)
    lower: int = 0
    upper: int = 0
    limit: int = 0

    def query(self) -> structured_query.Query:
        """Return the query as the server reads it."""
        message = m.StructuredQuery()
        message.from_.add(collection_id="t")
        if self.limit:
            message.limit.value = self.limit
        message.where.composite_filter.op = 1  # AND
        selected = message.where.composite_filter.filters.add().field_filter
        selected.field.field_path, selected.op = "a", 8  # in
        selected.value.array_value.values.extend(m.Value(integer_value=value) for value in self.values)
        for field, operator, value in (("b", 4, self.lower), ("c", 2, self.upper)):  # >=, <=
            if value:
                condition = message.where.composite_filter.filters.add().field_filter
                condition.field.field_path, condition.op, condition.value.integer_value = field, operator, value
        return structured_query.read(ROOT, message)

    def expected(self, documents: dict[str, Any]) -> int:
        """Return the number of matching documents of the collection `t` at the root."""
        matching: int = sum(
            path.count("/") == 1
            and fields["a"] in self.values
            and fields["b"] >= self.lower
            and (not self.upper or fields["c"] <= self.upper)
            for path, fields in documents.items()
        )
        return min(matching, self.limit) if self.limit else matching


async def commit(storage: Storage, batch: dict[str, dict[str, int] | None]) -> int:
    """Commit documents by path; None deletes one. Return the commit time."""
    writes = []
    for path, fields in batch.items():
        name = f"{ROOT}/{path}"
        write = m.Write(delete=name) if fields is None else m.Write(update=m.Document(name=name))
        for field, value in (fields or {}).items():
            write.update.fields[field].integer_value = value
        writes.append(document_write.prepare(write, resource_names.parse(name).database))

    def work(group: CommitGroup) -> int:
        return m.microseconds(commits.commit(group, writes, commits.no_conflicts).commit_time)

    return await storage.write(work)


def count_reads(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Return a list that gets an item for each read from now on."""
    reads: list[None] = []
    read = storage.read

    async def counted(work: Any) -> Any:
        reads.append(None)
        return await read(work)

    monkeypatch.setattr(storage, "read", counted)
    return reads

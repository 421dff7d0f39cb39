"""The stored rollups of a submitter: one document for each day, and the checkpoint."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.firestore.messages import StructuredQuery
from storage.rollups.rollup import CHECKPOINT, LATEST, Checkpoint, Rollup

_Operator = StructuredQuery.FieldFilter
_BATCH_DAYS = 100
"""A rollup has up to 480 KiB, and usually about 20 KiB."""


class RollupStore:
    """The rollups of one submitter. Each method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, submitter: str) -> None:
        self._firestore = firestore
        self._submitter = submitter

    async def checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint, or None if the submitter has no rollups."""
        path = document_paths.rollup(self._submitter, CHECKPOINT)
        document = (await self._firestore.batch_get([path])).get(path)
        if document is None:
            return None
        return Checkpoint.from_fields(encoding.from_document(document), encoding.to_datetime(document.update_time))

    async def between(
        self, start: datetime, end: datetime, read_time: datetime, pause: Callable[[], Awaitable[None]]
    ) -> list[Rollup]:
        """Return the rollups of the days that have a part between two times, the earliest first.

        `pause` lets other work run, if enough was done since the last pause.
        """
        found: list[Rollup] = []
        first, is_first = start.date(), True
        while True:
            query = self._query(first, end, is_inclusive=is_first)
            query.limit.value = _BATCH_DAYS
            documents = await self._firestore.page(document_paths.submitter(self._submitter), query, read_time)
            for document in documents:
                await pause()
                found.append(_decode(document))
            if len(documents) < _BATCH_DAYS:
                return found
            first, is_first = found[-1].day, False

    async def days(self, end: datetime, read_time: datetime) -> list[tuple[date, bool]]:
        """Return each day before `end` that has a rollup, and whether the rollup has stale hours."""
        query = self._query(date.min, end)
        query.select.fields.add(field_path="has_stale_hours")
        documents = await self._firestore.documents(document_paths.submitter(self._submitter), query, read_time)
        return [
            (date.fromisoformat(_name(document)), document.fields["has_stale_hours"].boolean_value)
            for document in documents
        ]

    async def write(self, writer: GroupCommitWriter, rollups: Sequence[Rollup]) -> None:
        """Store rollups. Raises `PreconditionFailed` if another instance has changed one of them."""
        writes = [self._write(each.day.isoformat(), each.fields(), each.update_time) for each in rollups]
        for outcome in await writer.write_all(writes, self._submitter):
            if isinstance(outcome, Exception):
                raise outcome

    async def write_checkpoint(self, writer: GroupCommitWriter, checkpoint: Checkpoint) -> Checkpoint:
        """Store the checkpoint, and return it with its new update time. Raises `PreconditionFailed` as `write` does."""
        write = self._write(CHECKPOINT, checkpoint.fields(), checkpoint.update_time)
        written = await writer.write(write)
        return replace(checkpoint, update_time=encoding.to_datetime(written.update_time))

    def _write(self, name: str, fields: dict[str, object], update_time: datetime | None) -> Any:
        write = encoding.to_write(self._firestore.name(document_paths.rollup(self._submitter, name)), fields)
        if update_time is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.FromDatetime(update_time)
        return write

    def _query(self, first: date, end: datetime, *, is_inclusive: bool = True) -> Any:
        """Return a query of the rollups from the day `first` on that have a part before `end`, in order."""
        query = StructuredQuery()
        query.from_.add(collection_id=document_paths.ROLLUPS)
        query.where.composite_filter.op = StructuredQuery.CompositeFilter.AND
        last = end.date().isoformat()
        includes_last = end == LATEST or end != end.replace(hour=0, minute=0, second=0, microsecond=0)
        operators = (
            _Operator.GREATER_THAN_OR_EQUAL if is_inclusive else _Operator.GREATER_THAN,
            _Operator.LESS_THAN_OR_EQUAL if includes_last else _Operator.LESS_THAN,
        )
        for operator, name in zip(operators, (first.isoformat(), last), strict=True):
            condition = query.where.composite_filter.filters.add().field_filter
            condition.field.field_path, condition.op = "__name__", operator
            path = document_paths.rollup(self._submitter, name)
            condition.value.reference_value = self._firestore.name(path)
        query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = "__name__"
        return query


def _decode(document: Any) -> Rollup:
    return Rollup.from_fields(
        _name(document), encoding.from_document(document), encoding.to_datetime(document.update_time)
    )


def _name(document: Any) -> str:
    return str(document.name.rpartition("/")[2])

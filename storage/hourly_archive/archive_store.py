"""The stored documents of the hourly archive, read by path or as a range of days."""

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from datetime import date, datetime

from storage.documents import Labels, document_paths, labels
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery, Write
from storage.firestore.reads.query_conditions import add_condition, add_name_condition
from storage.hourly_archive.archived_day import ArchivedDay
from storage.rollups.rollup import Resolution

_Operator = StructuredQuery.FieldFilter
_BATCH_SIZE = 50
"""The number of documents in one read. A document has up to 480 KiB, but usually a few KiB, and 50 up to 24 MiB."""


class ArchiveStore:
    """The hourly archive of one submitter. Each method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, submitter: str) -> None:
        self._firestore = firestore
        self._submitter = submitter

    def path(self, day: date, series: Labels | None) -> str:
        """Return the path of the document of a day: of one series, or of all results if `series` is None."""
        if series is None:
            return document_paths.archived_day(self._submitter, day)
        return document_paths.archived_series_day(self._submitter, day, labels.term(series))

    async def read(self, days: Collection[tuple[date, Labels | None]]) -> list[ArchivedDay]:
        """Return the documents of `days`, in the same order. If a document is not stored yet, return an empty day."""
        paths = [self.path(*each) for each in days]
        documents = await self._firestore.batch_get(paths)
        return [
            _decode(documents[path], is_series=series is not None) if path in documents else ArchivedDay(day, series)
            for path, (day, series) in zip(paths, days, strict=True)
        ]

    async def between(
        self, first: date, last: date, read_time: datetime, having: Labels | None, resolution: Resolution
    ) -> AsyncGenerator[ArchivedDay, None]:
        """Yield the documents from the day `first` to the day `last`, the earliest day first, read at `read_time`.

        With `having`, yield the documents of each series that has these labels. Otherwise, yield the documents of all
        results. The documents have only the statistics of one resolution.
        """
        query = self._query(first, last, having)
        for field in ("format_version", "labels", "total" if resolution is Resolution.DAY else "hours"):
            query.select.fields.add(field_path=field)
        parent = document_paths.submitter(self._submitter)
        async with aclosing(self._firestore.pages(parent, query, _BATCH_SIZE, read_time)) as pages:
            async for page in pages:
                for document in page:
                    yield _decode(document, is_series=having is not None)

    def to_write(self, day: ArchivedDay) -> Write:
        """Return the write that stores a day. The write fails if the document has changed after it was read."""
        name = self._firestore.name(self.path(day.day, day.labels))
        return encoding.to_conditional_write(name, day.fields(), day.update_time)

    def _query(self, first: date, last: date, having: Labels | None) -> StructuredQuery:
        collection = document_paths.HOURLY_ARCHIVE if having is None else document_paths.HOURLY_ARCHIVE_SERIES
        parent = document_paths.submitter(self._submitter)
        query = StructuredQuery()
        query.from_.add(collection_id=collection)
        if having:
            add_condition(query, "label_terms", _Operator.ARRAY_CONTAINS, labels.term(having))
        for operator, name in (
            (_Operator.GREATER_THAN_OR_EQUAL, first.isoformat()),
            (_Operator.LESS_THAN, f"{last.isoformat()}~"),  # after the name of each series of the last day
        ):
            add_name_condition(query, operator, self._firestore.name(f"{parent}/{collection}/{name}"))
        return query


def _decode(document: Document, *, is_series: bool) -> ArchivedDay:
    name = document_paths.id_of(document.name)
    return ArchivedDay.from_fields(
        date.fromisoformat(name[: len("2026-11-28")]),
        encoding.from_document(document),
        encoding.to_datetime(document.update_time),
        is_series=is_series,
    )

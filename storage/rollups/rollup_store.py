"""The stored rollups of a submitter: a few documents for each day, usually one."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date, datetime

from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery, Write
from storage.firestore.reads.query_conditions import add_name_condition
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from storage.rollups.checkpoint import FORMAT_VERSION
from storage.rollups.day_rollups import DayRollups, Pause, RollupDocument
from storage.rollups.rollup import Resolution, Snapshot, decode_hours, end_of, midnight_of
from storage.rollups.series import RollupKind, Series

MAX_BYTES = 8 * 2**20
"""The maximum memory for the snapshots of a window, unless one hour or day needs more.

If each hour has 20 values, 14,000 snapshots fit. If each hour has values in 1,900 bins, 1,400 snapshots fit.
"""
MAX_BYTES_AT_MIDNIGHT = MAX_BYTES * 3 // 4
"""A window ends at midnight if it has this size, because a day in two windows is read twice."""
_SNAPSHOT_BYTES = 400
"""The memory for a snapshot and its key, in addition to the stored statistics."""
MAX_SELECTED_SERIES = 30
"""If more series are selected, all series of a document are read, not only the selected series."""
_MAX_WRITES = 8
"""The documents that are encoded and written together. Each has at most 1 MiB."""
_AFTER_ALL_NUMBERS = "~"
"""The name of a document is a day, such as `2026-11-28`, or a day with a number. This character sorts after `-`."""
_Operator = StructuredQuery.FieldFilter


@dataclass(slots=True)
class Window:
    """The snapshots of rollups from `start` up to `end`, by the start of the hour or the day, and by series."""

    start: datetime
    end: datetime
    snapshots: dict[tuple[datetime, Series], Snapshot] = field(default_factory=dict)
    bytes: int = 0

    def add(self, series: Series, snapshots: Iterable[tuple[datetime, Snapshot]]) -> None:
        """Add the snapshots of a series in this window, by the start of the hour or the day.

        If another document has a later snapshot of the same span (`day_rollups.py`), keep the later one.
        """
        for first, snapshot in snapshots:
            earlier = self.snapshots.get((first, series))
            if self.start <= first < self.end and (earlier is None or earlier.as_of < snapshot.as_of):
                self.snapshots[first, series] = snapshot
                self.bytes += _size(snapshot) - (0 if earlier is None else _size(earlier))

    def shorten(self) -> None:
        """Move `end` to an earlier hour or day, so that the snapshots before it fit. Keep at least the first one."""
        sizes = Counter[datetime]()
        for (start, _), snapshot in self.snapshots.items():
            sizes[start] += _size(snapshot)
        for start in reversed(sorted(sizes)[1:]):
            if self.bytes <= MAX_BYTES:
                break
            self.bytes -= sizes[start]
            self.end = start
        self.snapshots = {key: snapshot for key, snapshot in self.snapshots.items() if key[0] < self.end}


class RollupStore:
    """The rollups of one kind of one submitter. Each method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, submitter: str, kind: RollupKind) -> None:
        self._firestore = firestore
        self._submitter = submitter
        self.kind = kind

    async def windows(
        self,
        start: datetime,
        end: datetime,
        read_time: datetime,
        resolution: Resolution,
        pause: Pause,
        selects: Callable[[Series], bool],
        series: Collection[Series] = (),
    ) -> AsyncGenerator[Window, None]:
        """Yield the snapshots of the hours or the days from `start` up to `end`, the earliest first, in windows.

        The end of the last window is `end`. `selects` returns whether a series is selected. If `series` contains all
        selected series, other series are not read.
        """
        stored = "hours" if resolution is Resolution.HOUR else "totals"
        is_small = 0 < len(series) <= MAX_SELECTED_SERIES
        paths = [f"{stored}.{_quoted(each)}" for each in series] if is_small else [stored]
        while start < end:
            window, latest = Window(start, end), start.date()
            documents = self._documents(start.date(), end, read_time, ["format_version", *paths])
            async with aclosing(documents):
                async for day, document in documents:
                    if window.end <= midnight_of(day):  # the rest of the previous day must be read again
                        break
                    if day > latest and window.bytes >= MAX_BYTES_AT_MIDNIGHT:
                        window.end = midnight_of(day)
                        yield window
                        window = Window(window.end, end)
                    latest = day
                    fields = document.fields
                    if fields["format_version"].integer_value != FORMAT_VERSION or stored not in fields:
                        continue
                    members = fields[stored].map_value.fields
                    for each in filter(selects, members):
                        await pause()
                        window.add(each, _snapshots(day, members[each].bytes_value, resolution))
                    if window.bytes > MAX_BYTES:
                        window.shorten()
            yield window
            start = window.end

    async def read(self, first: date, last: date, read_time: datetime, pause: Pause) -> dict[date, DayRollups]:
        """Return the rollups of the days from `first` to `last`. Days without rollups are left out."""
        found: dict[date, DayRollups] = {}
        async with aclosing(self._documents(first, end_of(last), read_time)) as documents:
            async for day, document in documents:
                rollups = found.setdefault(day, DayRollups(day))
                update_time = encoding.to_datetime(document.update_time)
                await rollups.add_document(_number(document), encoding.from_document(document), update_time, pause)
        return found

    async def days(self, start: datetime, end: datetime, read_time: datetime) -> dict[date, bool]:
        """Return the days between two times that have rollups, and for each day whether it has stale hours."""
        found: dict[date, bool] = {}
        async with aclosing(self._documents(start.date(), end, read_time, ["has_stale_hours"])) as documents:
            async for day, document in documents:
                found[day] = document.fields["has_stale_hours"].boolean_value or found.get(day, False)
        return found

    async def write(self, writer: GroupCommitWriter, days: Sequence[DayRollups], pause: Pause) -> None:
        """Store the changes of days. Raises `PreconditionFailed` if another instance has changed one of the days."""
        written = [(each, await each.documents(pause)) for each in days if each.is_changed]
        for turn in range(max((len(turns) for _, turns in written), default=0)):
            documents = [(day, each) for day, turns in written for each in (turns[turn] if turn < len(turns) else ())]
            for first in range(0, len(documents), _MAX_WRITES):
                writes = [self._write(day, each) for day, each in documents[first : first + _MAX_WRITES]]
                for outcome in await writer.write_all(writes, self._submitter):
                    if isinstance(outcome, Exception):
                        raise outcome

    def _write(self, rollups: DayRollups, document: RollupDocument) -> Write:
        suffix = f"-{document.number}" if document.number else ""
        path = document_paths.rollup(self._submitter, f"{rollups.day.isoformat()}{suffix}", self.kind.collection)
        return encoding.to_conditional_write(self._firestore.name(path), rollups.fields(document), document.update_time)

    async def _documents(
        self, first: date, end: datetime, read_time: datetime, select: Sequence[str] = ()
    ) -> AsyncGenerator[tuple[date, Document], None]:
        """Yield each document of the days that start at or after `first` and before `end`, with its day."""
        parent, query = document_paths.submitter(self._submitter), self._query(first, end, select)
        async with aclosing(self._firestore.pages(parent, query, self.kind.batch_size, read_time)) as pages:
            async for page in pages:
                for document in page:
                    yield _day(document), document

    def _query(self, first: date, end: datetime, select: Sequence[str]) -> StructuredQuery:
        query = StructuredQuery()
        query.from_.add(collection_id=self.kind.collection)
        for path in select:
            query.select.fields.add(field_path=path)
        has_end = end == Resolution.DAY.start_of(end)
        for operator, name in (
            (_Operator.GREATER_THAN_OR_EQUAL, first.isoformat()),
            (_Operator.LESS_THAN, f"{end.date().isoformat()}{'' if has_end else _AFTER_ALL_NUMBERS}"),
        ):
            path = document_paths.rollup(self._submitter, name, self.kind.collection)
            add_name_condition(query, operator, self._firestore.name(path))
        return query


def _snapshots(day: date, packed: bytes, resolution: Resolution) -> Iterator[tuple[datetime, Snapshot]]:
    if resolution is Resolution.HOUR:
        yield from decode_hours(day, packed)
    else:
        yield midnight_of(day), Snapshot.decode(packed)


def _size(snapshot: Snapshot) -> int:
    return len(snapshot.packed) + _SNAPSHOT_BYTES


def _quoted(series: Series) -> str:
    """Return a series as a part of a field path."""
    escaped = series.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _day(document: Document) -> date:
    return date.fromisoformat(_name(document)[: len("2026-11-28")])


def _number(document: Document) -> int:
    return int(_name(document)[len("2026-11-28-") :] or 0)


def _name(document: Document) -> str:
    return document_paths.id_of(document.name)

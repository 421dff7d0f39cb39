"""A sample: the bytes that a client submitted, stored unchanged.

A raw document of up to `MAX_INLINE_BYTES` is a string in the header. A larger raw document is split into chunks. The
header is written last. If a header exists, the whole sample is therefore stored. Triggers listen to headers only.

This module opens no connections.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from hashlib import sha256
from zoneinfo import ZoneInfo

import msgspec

from storage.documents import document_paths, labels
from storage.documents.chunks import MAX_INLINE_BYTES, Upload, chunk_count, join
from storage.documents.document_paths import SampleIdentity, StoredDocument
from storage.documents.errors import InvalidSample
from storage.documents.labels import Labels
from storage.documents.problems import Problem, ProblemCode
from storage.documents.retention import Archiving
from storage.documents.stored_fields import SERVER_TIME, read_integer, read_optional_text, read_optional_time
from storage.documents.validation.validation_report import ValidationReport

_OPTIONAL_FIELDS = ("time_zone", "superseded_by", "supersedes", "submitted_by", "expire_at", "result_expire_at")
"""The fields of a header that are stored as they are, unless they are None."""

_UNCHECKED = {ProblemCode.TOO_DEEP, ProblemCode.TOO_LONG}
"""Problems of a whole sample (path `$`) that end its validation. Labels have TOO_LONG too, with a path of their own."""


class Arrival(StrEnum):
    """The outcome of validation on arrival. It is stored in the header and never changes."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class Header(msgspec.Struct):
    """The document `samples/{id}`."""

    submitter: str
    id: str
    arrival: Arrival
    problems: tuple[Problem, ...]
    time_stamp: str | None
    count: int
    byte_count: int
    sha256: str
    shard: int
    """Spreads samples over several ranges of the indexes that are ordered by time. A result has the same shard."""
    time_zone: str | None
    """The zone for a time stamp without a UTC offset. Stored, so that API and function compute the same instant."""
    raw: bytes | None
    """None if the raw document is stored in chunks, or if the field was not read."""
    chunks: int = 0
    upload_id: str | None = None
    """The upload that has written the chunks. None for samples of earlier releases."""
    submitted_at: datetime | None = None
    """The time of the write. None until Firestore has confirmed the write."""
    recompute_requested_at: datetime | None = None
    labels: Labels = {}
    superseded_by: str | None = None
    """The id of the sample that corrects this sample, since `superseded_at`."""
    superseded_at: datetime | None = None
    supersedes: str | None = None
    """The id of the sample that this sample was sent to correct."""
    missing_count: int = 0
    """The number of skipped nulls. If it is not 0, readers skip nulls."""
    submitted_by: str | None = None
    """The label of the API key, or the client of the access token. None for samples of earlier releases."""
    expire_at: datetime | None = None
    """Firestore deletes the sample after this time. None means never."""
    result_expire_at: datetime | None = None
    """After this time, Firestore deletes the result. With `archiving`, it is moved into the hourly archive instead."""
    archiving: Archiving | None = None

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored header."""
        fields: dict[str, object] = {
            "state_on_arrival": self.arrival.value,
            "submitted_at": SERVER_TIME,
            "time_stamp": self.time_stamp,
            "count": self.count,
            "bytes": self.byte_count,
            "sha256": self.sha256,
            "shard": self.shard,
        }
        if self.problems:
            fields["problems"] = [problem.fields() for problem in self.problems]
        if self.labels:
            fields |= labels.stored_fields(self.labels)
        if self.missing_count:
            fields["missing_count"] = self.missing_count
        for name in _OPTIONAL_FIELDS:
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if self.archiving is not None:
            fields |= self.archiving.fields()
        if self.raw is None:
            fields["chunks"] = self.chunks
            if self.upload_id is not None:
                fields["upload_id"] = self.upload_id
        else:
            fields["raw"] = self.raw.decode()
        return fields

    @classmethod
    def from_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Header":
        """Return the header that is stored as `fields`, with or without `raw`.

        Raises `AttributeError`, `KeyError`, `TypeError` or `ValueError` if the fields do not describe a header.
        """
        raw, problems = fields.get("raw"), fields.get("problems", ())
        if not isinstance(problems, Iterable):
            raise TypeError(f"expected a list of problems, got {problems!r}")
        return cls(
            submitter=submitter,
            id=sample_id,
            arrival=Arrival(str(fields["state_on_arrival"])),
            problems=tuple(Problem.from_fields(problem) for problem in problems),
            time_stamp=read_optional_text(fields, "time_stamp"),
            count=read_integer(fields, "count"),
            byte_count=read_integer(fields, "bytes"),
            sha256=str(fields["sha256"]),
            shard=read_integer(fields, "shard"),
            time_zone=read_optional_text(fields, "time_zone"),
            raw=raw.encode() if isinstance(raw, str) else None,
            chunks=read_integer(fields, "chunks", 0),
            upload_id=read_optional_text(fields, "upload_id"),
            submitted_at=read_optional_time(fields, "submitted_at"),
            recompute_requested_at=read_optional_time(fields, "recompute_requested_at"),
            labels=labels.from_fields(fields) if "labels" in fields else {},
            superseded_by=read_optional_text(fields, "superseded_by"),
            superseded_at=read_optional_time(fields, "superseded_at"),
            supersedes=read_optional_text(fields, "supersedes"),
            missing_count=read_integer(fields, "missing_count", 0),
            submitted_by=read_optional_text(fields, "submitted_by"),
            expire_at=read_optional_time(fields, "expire_at"),
            result_expire_at=read_optional_time(fields, "result_expire_at"),
            archiving=Archiving.from_fields(fields) if "archiving" in fields else None,
        )

    @classmethod
    def from_damaged_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Header":
        """Return the header that is stored as `fields`, or a header with defaults if the fields are damaged.

        Clients can therefore still list a damaged sample and read its result.
        """
        try:
            return cls.from_fields(submitter, sample_id, fields)
        except (AttributeError, KeyError, TypeError, ValueError):
            count, size = fields.get("count"), fields.get("bytes")
            rejected = fields.get("state_on_arrival") == Arrival.REJECTED.value
            damaged = Problem(
                "$", "the stored header of this sample is damaged; submit the sample again", ProblemCode.NOT_COMPUTABLE
            )
            return cls(
                submitter=submitter,
                id=sample_id,
                arrival=Arrival.REJECTED if rejected else Arrival.ACCEPTED,
                problems=(damaged,) if rejected else (),
                time_stamp=None,
                count=count if isinstance(count, int) else 0,
                byte_count=size if isinstance(size, int) else 0,
                sha256=str(fields.get("sha256", "")),
                shard=0,
                time_zone=None,
                raw=None,
                submitted_at=read_optional_time(fields, "submitted_at") or datetime.fromtimestamp(0, UTC),
            )

    @property
    def is_json(self) -> bool:
        """Whether the raw document is JSON. False if validation ended before the whole document was checked."""
        return not any(problem.path == "$" and problem.code in _UNCHECKED for problem in self.problems)

    def default_time_zone(self) -> tzinfo | None:
        """Return the zone that applies to a time stamp without a UTC offset, or None if the header names no zone."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    @property
    def upload(self) -> Upload:
        """The upload that has written the chunks, if there are chunks."""
        return Upload(self.submitter, self.id, self.chunks, self.upload_id or self.sha256[:16])

    def chunk_paths(self) -> list[str]:
        """Return the paths of the chunks in order."""
        return self.upload.chunk_paths()

    def assemble(self, chunks: Iterable[bytes]) -> bytes:
        """Return the raw document: `raw` if the header has it, otherwise the decompressed `chunks` in order.

        Raises `InvalidSample` if a chunk cannot be decompressed, or if the bytes differ from the submitted bytes.
        """
        raw = self.raw if self.raw is not None else join(chunks)
        if len(raw) != self.byte_count or sha256(raw).hexdigest() != self.sha256:
            message = (
                f"the stored sample is damaged: expected the {self.byte_count:,} submitted bytes, "
                f"got {len(raw):,} bytes that differ; submit the sample again"
            )
            raise InvalidSample([Problem("$", message, ProblemCode.INCOMPLETE)])
        return raw


@dataclass(frozen=True, slots=True)
class Sample:
    """A header and its raw document."""

    header: Header
    identity: SampleIdentity
    raw: bytes = field(repr=False)

    @classmethod
    def receive(
        cls,
        raw: bytes,
        report: ValidationReport,
        identity: SampleIdentity,
        *,
        default_labels: Labels | None,
        time_zone: ZoneInfo | None,
        shards: int,
    ) -> "Sample":
        """Return the sample with the raw document `raw`: accepted, or rejected with the problems in `report`.

        The sample has `default_labels` in addition to its own labels. If both have a name, the sample's own label is
        used. `report` was created with the default `time_zone`.
        """
        chunks = chunk_count(raw) if len(raw) > MAX_INLINE_BYTES else 0
        problems, sample_labels = report.problems, report.labels
        if default_labels:
            sample_labels = {**default_labels, **sample_labels}
            if len(sample_labels) > labels.MAX_LABELS:
                problems, sample_labels = (*problems, labels.too_many()), report.labels
        header = Header(
            submitter=identity.submitter,
            id=identity.id,
            arrival=Arrival.REJECTED if problems else Arrival.ACCEPTED,
            problems=problems,
            time_stamp=report.time_stamp,
            count=report.count,
            byte_count=len(raw),
            sha256=identity.sha256,
            shard=document_paths.shard(identity.id, shards),
            time_zone=None if time_zone is None else time_zone.key,
            raw=None if chunks else raw,
            chunks=chunks,
            labels=sample_labels,
            missing_count=report.missing_count,
        )
        return cls(header, identity, raw)

    def document(self) -> StoredDocument:
        """Return the path and the fields of the header."""
        return document_paths.sample(self.header.submitter, self.header.id), self.header.fields()

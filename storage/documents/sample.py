"""A sample: what a client submitted, kept byte for byte.

Firestore holds at most 1 MiB in a document, and Eventarc sends no event that is much larger than
half of that. So a raw document of up to `MAX_INLINE_BYTES` is a string in the header, and a larger one is cut
into chunks at `samples/{id}/chunks/{digest}-{number}`, each compressed on its own. The header is written last: where
there is a header there is a whole sample, and that is why triggers listen to headers alone.

Nothing here opens a connection. `Sample.documents()` says what to write and in which order.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from zoneinfo import ZoneInfo

import zstandard

from storage.documents import document_paths, sample_ids
from storage.documents.errors import InvalidSample
from storage.documents.problems import Problem, ProblemCode
from storage.documents.server_time import SERVER_TIME
from storage.documents.states import Arrival
from storage.documents.validation import payload

MAX_INLINE_BYTES = 256 * 1024
CHUNK_BYTES = 900 * 1024
"""A cut of the raw document before compression: incompressible bytes grow by far less than 1 MiB leaves."""

Document = tuple[str, Mapping[str, object]]


@dataclass(slots=True)
class Header:
    """What `samples/{id}` holds beside the raw document.

    `shard` spreads samples over the indexes that grow with time; a result is in the shard of its sample.

    `submitted_at` is Firestore's time of the write, None until Firestore has confirmed it. `raw` is
    None where the document is in `chunks` many chunks. `time_zone` names the zone that stood in for a missing
    UTC offset, so that a function computes what the API has validated.
    """

    submitter: str
    id: str
    arrival: Arrival
    problems: tuple[Problem, ...]
    time_stamp: str | None
    count: int
    byte_count: int
    sha256: str
    shard: int
    time_zone: str | None
    raw: bytes | None = field(repr=False)
    chunks: int = 0
    submitted_at: datetime | None = None

    def fields(self) -> dict[str, object]:
        """Return the header as it is stored."""
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
        if self.time_zone is not None:
            fields["time_zone"] = self.time_zone
        if self.raw is None:
            fields["chunks"] = self.chunks
        else:
            fields["raw"] = self.raw.decode()
        return fields

    @classmethod
    def from_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Header":
        """Read back what `fields` gave, with or without `raw`.

        Raises `KeyError`, `TypeError` or `ValueError` on a foreign document.
        """
        raw = fields.get("raw")
        problems = fields.get("problems", ())
        submitted_at, time_stamp, time_zone = (fields.get(key) for key in ("submitted_at", "time_stamp", "time_zone"))
        if not isinstance(problems, Iterable):
            raise TypeError(f"expected a list of problems, found {problems!r}")
        return cls(
            submitter=submitter,
            id=sample_id,
            arrival=Arrival(str(fields["state_on_arrival"])),
            problems=tuple(Problem.from_fields(problem) for problem in problems),
            time_stamp=None if time_stamp is None else str(time_stamp),
            count=int(str(fields["count"])),
            byte_count=int(str(fields["bytes"])),
            sha256=str(fields["sha256"]),
            shard=int(str(fields["shard"])),
            time_zone=None if time_zone is None else str(time_zone),
            raw=raw.encode() if isinstance(raw, str) else None,
            chunks=int(str(fields.get("chunks", 0))),
            submitted_at=submitted_at if isinstance(submitted_at, datetime) else None,
        )

    @classmethod
    def shown_from_fields(cls, submitter: str, sample_id: str, fields: Mapping[str, object]) -> "Header":
        """Read back what `fields` gave, or of a damaged header what there is, so that its result can be shown."""
        try:
            return cls.from_fields(submitter, sample_id, fields)
        except (AttributeError, KeyError, TypeError, ValueError):
            count, size, submitted_at = (fields.get(key) for key in ("count", "bytes", "submitted_at"))
            rejected = fields.get("state_on_arrival") == Arrival.REJECTED.value
            damaged = Problem("$", "expected a whole header, the stored one is damaged", ProblemCode.NOT_COMPUTABLE)
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
                submitted_at=submitted_at if isinstance(submitted_at, datetime) else datetime.fromtimestamp(0, UTC),
            )

    def default_time_zone(self) -> tzinfo | None:
        """Return the zone that stands in for a missing UTC offset."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    def assemble(self, chunks: Iterable[bytes]) -> bytes:
        """Return the raw document, from `chunks` in their order where it is not in the header.

        Raises `InvalidSample` where the bytes are not those that were submitted.
        """
        try:
            raw = self.raw if self.raw is not None else b"".join(map(zstandard.decompress, chunks))
        except zstandard.ZstdError as fault:
            raise InvalidSample([Problem("$", "expected chunks compressed as zstd", ProblemCode.INCOMPLETE)]) from fault
        if len(raw) != self.byte_count or sha256(raw).hexdigest() != self.sha256:
            message = f"expected the {self.byte_count:,} bytes that were submitted, found {len(raw):,} other ones"
            raise InvalidSample([Problem("$", message, ProblemCode.INCOMPLETE)])
        return raw


@dataclass(frozen=True, slots=True)
class Identity:
    """What a sample is named by; known before it is read, unless a member of it may be its idempotency key."""

    submitter: str
    id: str
    sha256: str
    has_idempotency_key: bool
    """An idempotency key determines the id, so a retry has the same identity."""

    @classmethod
    def of(cls, raw: bytes, submitter: str, idempotency_key: str | None) -> "Identity":
        """Return the identity of `raw`; an idempotency key decides the id, without one it is random."""
        sample_id = (
            str(uuid.uuid4())  # sequential ids would make a hot spot in Firestore
            if idempotency_key is None
            else sample_ids.keyed_sample_id(submitter, idempotency_key)
        )
        return cls(submitter, sample_id, sha256(raw).hexdigest(), idempotency_key is not None)

    @classmethod
    def before_parsing(cls, raw: bytes, submitter: str, idempotency_key: str | None) -> "Identity | None":
        """Return the identity of `raw`, or None if a member of `raw` may be its idempotency key."""
        if idempotency_key is None and (b"\\" in raw or b"idempotency_key" in raw):
            return None  # a backslash may belong to the member's name, spelled with escapes
        return cls.of(raw, submitter, idempotency_key)

    def chunk(self, number: int, data: bytes) -> Document:
        """Return the path and the fields of a chunk that `compress_chunk` gave."""
        return document_paths.chunk(self.submitter, self.id, self.sha256, number), {"data": data}


@dataclass(frozen=True, slots=True)
class Sample:
    """A header and the raw document it stands for."""

    header: Header
    identity: Identity
    raw: bytes = field(repr=False)

    @classmethod
    def receive(
        cls,
        raw: bytes,
        *,
        submitter: str,
        idempotency_key: str | None = None,
        time_zone: str | None = None,
        shards: int = 1,
        identity: Identity | None = None,
    ) -> "Sample":
        """Return the sample that `raw`, a JSON text, is: accepted, or rejected with its problems.

        Its identity is `identity`, or else determined by `idempotency_key`, or else by the member of that name.
        Raises `NotJson` where it is no JSON text: then there is nothing to keep.
        """
        zone = None if time_zone is None else ZoneInfo(time_zone)
        report = payload.validate(raw, zone)
        identity = identity or Identity.of(raw, submitter, idempotency_key or report.idempotency_key)
        chunks = chunk_count(raw)
        header = Header(
            submitter=submitter,
            id=identity.id,
            arrival=Arrival.REJECTED if report.problems else Arrival.ACCEPTED,
            problems=report.problems,
            time_stamp=report.time_stamp,
            count=report.count,
            byte_count=len(raw),
            sha256=identity.sha256,
            shard=sample_ids.shard(identity.id, shards),
            time_zone=time_zone,
            raw=None if chunks else raw,
            chunks=chunks,
        )
        return cls(header, identity, raw)

    def documents(self) -> Iterator[Document]:
        """Yield `(path, fields)` in the order in which they must be written: the header last."""
        for number in range(self.header.chunks):
            yield self.identity.chunk(number, compress_chunk(self.raw, number))
        yield self.document()

    def document(self) -> Document:
        """Return the path and the fields of the header."""
        return document_paths.sample(self.header.submitter, self.header.id), self.header.fields()


def compress_chunk(raw: bytes, number: int) -> bytes:
    """Return a chunk of a raw document, compressed as it is stored."""
    return zstandard.compress(memoryview(raw)[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES], 1)


def chunk_count(raw: bytes) -> int:
    """Return into how many chunks a raw document is cut; 0 where it is kept in the header."""
    return 0 if len(raw) <= MAX_INLINE_BYTES else -(-len(raw) // CHUNK_BYTES)

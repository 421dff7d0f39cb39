"""A sample as clients see it. The server reads a field from Firestore only if the query selects that field."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Self

import strawberry
from strawberry import Private

from graphql_api.schema.context import Info
from graphql_api.schema.costs import RAW, READ, costs
from graphql_api.schema.types.label import LABEL, LABELS, Label, LabelName, graphql_labels
from graphql_api.schema.types.problem import FailedAttempts, ProblemType, SampleState
from graphql_api.schema.types.result import SUBMITTED_BY, Result
from graphql_api.schema.types.scalars import JSON, MAX_PLAIN_NUMBERS, Vector, vector
from graphql_api.schema.types.timeline import TimelineEntry
from storage.documents import BadRequest, Header, state_of
from storage.documents import Result as StoredResult

_NOT_JSON = JSON(b'"This document was not read completely and may not be JSON. GET /samples/{id} returns its bytes."')


@strawberry.type(description="A measurement sample as it was submitted. Invalid samples are stored too.")
class Sample:
    """The header of a sample. Fields that are not in the header load their data when a query selects them."""

    header: Private[Header]
    is_new: Private[bool]
    """Whether this operation has stored the sample. If so, the result does not exist yet and is not read."""

    id: strawberry.ID = strawberry.field(description="The id of the sample and of its result.")
    submitted_at: datetime = strawberry.field(description="The time when Firestore stored the sample.")
    time_stamp: str | None = strawberry.field(
        description=(
            "The time stamp as submitted, even if it is not valid. Null if it is not a string, or if the sample was "
            "not read completely, for example because it is nested too deeply."
        )
    )
    count: int = strawberry.field(
        description=(
            "The number of values in `data`, without the nulls in `missingCount`. 0 if `data` is not a list, or if the "
            "sample was not read completely."
        )
    )
    bytes: int = strawberry.field(description="The size of the submitted JSON in bytes.")
    missing_count: int = strawberry.field(
        description="The number of nulls in `data` that the statistics leave out. See `skipMissingValues`."
    )
    sha256: str = strawberry.field(description="The SHA-256 of the submitted JSON in hexadecimal.")
    submitted_by: str | None = strawberry.field(description=SUBMITTED_BY)
    expires_at: datetime | None = strawberry.field(
        description=(
            "The time when the sample expires. Firestore usually deletes the sample within a day after this time. The "
            "retention at the time of the submission determines this time. Null if the sample is kept forever."
        )
    )

    @classmethod
    def of(cls, header: Header) -> Self:
        """Return the GraphQL object of a stored sample."""
        assert header.submitted_at is not None
        return cls(
            header=header,
            is_new=header.raw is not None,  # a header that was stored before is read without its raw document
            id=strawberry.ID(header.id),
            submitted_at=header.submitted_at,
            time_stamp=header.time_stamp,
            count=header.count,
            bytes=header.byte_count,
            missing_count=header.missing_count,
            sha256=header.sha256,
            submitted_by=header.submitted_by,
            expires_at=header.expire_at,
        )

    @strawberry.field(description=LABELS)
    def labels(self) -> list[Label]:
        """Return the labels."""
        return graphql_labels(self.header.labels)

    @strawberry.field(description=LABEL)
    def label(self, name: LabelName) -> str | None:
        """Return the value of one label."""
        return self.header.labels.get(name)

    @strawberry.field(description="The state of the sample.", metadata=costs(READ))
    async def state(self, info: Info) -> SampleState:
        """Return the state."""
        return await self.current_state(info)

    @strawberry.field(
        description="The problems of the sample. Empty unless the state is REJECTED or FAILED.", metadata=costs(READ)
    )
    async def problems(self, info: Info) -> list[ProblemType]:
        """Return the problems from validation, or the problem that made the function fail."""
        result = await self.stored_result(info)
        problems = [*self.header.problems, *([result.problem] if result and result.problem else [])]
        return [ProblemType.of(problem) for problem in problems]

    @strawberry.field(
        description=(
            "The failed attempts to compute the sample. Null if the state is not PENDING, or if fewer than two "
            "attempts have failed. Always null on Google Cloud, because Eventarc does not report failed attempts."
        ),
        metadata=costs(READ),
    )
    async def failed_attempts(self, info: Info) -> FailedAttempts | None:
        """Return the failed attempts of a sample without a result."""
        if self.is_new or self.header.problems or await self.stored_result(info) is not None:
            return None
        attempts = await info.context.failed_attempts.load(self.header.id)
        return None if attempts is None else FailedAttempts.of(attempts)

    @strawberry.field(
        description="The events of the sample, the oldest first. The list has at most one event of each kind. Failed "
        "attempts are listed until the sample is computed.",
        metadata=costs(READ),
    )
    async def timeline(self, info: Info) -> list[TimelineEntry]:
        """Return the events that follow from the header, the result and the failed attempts."""
        result = await self.stored_result(info)
        attempts = None
        if result is None and not self.is_new and not self.header.problems:
            attempts = await info.context.failed_attempts.load(self.header.id)
        return TimelineEntry.all_of(self.header, result, attempts)

    @strawberry.field(
        description="The statistics of the sample. Null unless the state is COMPUTED or SUPERSEDED.",
        metadata=costs(READ),
    )
    async def result(self, info: Info) -> Result | None:
        """Return the result if it is computed."""
        result = await self.stored_result(info)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(
        description=(
            "The submitted JSON, byte for byte. If a problem with the path `$` has the code TOO_DEEP or TOO_LONG, the "
            "sample was not read completely and may not be JSON. The value is then a string that says so. "
            "`GET /samples/{id}` returns the bytes of every sample."
        ),
        metadata=costs(RAW),
    )
    async def raw(self, info: Info) -> JSON:
        """Load the raw document. The response contains its bytes as they are, so they must be JSON."""
        documents = info.context.raw_documents
        header, raw = await documents.load(self.header)
        if not header.is_json:
            return _NOT_JSON
        await documents.add_to_response(info.path, len(raw))
        return JSON(raw)

    @strawberry.field(
        description=(
            "The values of the sample, without the nulls in `missingCount`. Use `first` and `offset` to return a part "
            "of the values. Empty if the state is REJECTED."
        ),
        metadata=costs(RAW),
    )
    async def data(
        self,
        info: Info,
        first: Annotated[
            int | None,
            strawberry.argument(description="The maximum number of values. By default, all values are returned."),
        ] = None,
        offset: Annotated[int, strawberry.argument(description="The number of values to skip.")] = 0,
    ) -> Vector:
        """Load the values and return the requested part."""
        for name, value in (("first", first), ("offset", offset)):
            if value is not None and value < 0:
                raise BadRequest(f"expected 0 or more, got {value} - at `{name}`")
        if self.header.problems:
            return Vector([])
        values = await info.context.values.load(self.header.id)
        part = range(len(values))[offset : None if first is None else offset + first]
        part_bytes = self.header.byte_count * len(part) // max(1, len(values))
        await info.context.raw_documents.add_to_response(info.path, part_bytes)
        if len(part) <= MAX_PLAIN_NUMBERS:
            return _vector_of(values, part)
        return await info.context.receiver.validators.run(self.header.submitter, partial(_vector_of, values, part))

    async def current_state(self, info: Info) -> SampleState:
        """Return the state, which follows from the header and the result."""
        result = await self.stored_result(info)
        if result is not None:
            return state_of(self.header.arrival, result.status)
        return state_of(self.header.arrival, has_expired=await info.context.store.has_expired(self.header))

    async def stored_result(self, info: Info) -> StoredResult | None:
        """Load the result of this sample. A sample that is PENDING or REJECTED has none."""
        if self.is_new or self.header.problems:
            return None
        result = await info.context.results.load(self.header.id)
        return result if result is not None and result.belongs_to_sample(self.submitted_at) else None


def _vector_of(values: Sequence[float], part: range) -> Vector:
    """Return a part of the values. Fields that wait for their turn in a thread have no copy of their part."""
    return vector(values[part.start : part.stop])

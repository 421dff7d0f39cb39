"""The GraphQL nouns. Every field says what it is; what costs a read is read only when it is asked for."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Self, TypeVar

import strawberry
from strawberry import Private

from documents import BadRequest, Header, Problem, ProblemCode, SampleState, state_of
from documents import Result as StoredResult
from graphql_api.context import Info
from graphql_api.pages import Cursor, Page
from graphql_api.scalars import JSON, Vector

_STATES = {
    SampleState.PENDING: "Stored; the result follows.",
    SampleState.COMPUTED: "The result is there.",
    SampleState.FAILED: "Can never be computed; `problems` says why.",
    SampleState.REJECTED: "Invalid when it came in, and kept; `problems` says why.",
}
_CODES = {
    ProblemCode.MISSING: "Something that must be there is not.",
    ProblemCode.WRONG_TYPE: "A value of another type is expected.",
    ProblemCode.EMPTY: "At least one value is expected.",
    ProblemCode.OUT_OF_RANGE: "A number that no finite double is near to, or a time outside the years 1 to 9999.",
    ProblemCode.DUPLICATE_KEY: "A key stands more than once, so its value is ambiguous.",
    ProblemCode.TOO_DEEP: "Lists and objects are nested too deeply.",
    ProblemCode.INVALID_TIME_STAMP: "The text is no date and time.",
    ProblemCode.NO_UTC_OFFSET: "The time stamp does not say how far it is from UTC.",
    ProblemCode.INCOMPLETE: "The stored bytes are not those that were submitted.",
    ProblemCode.NOT_COMPUTABLE: "What is stored cannot be computed, and the fault is not the publisher's.",
    ProblemCode.MORE_PROBLEMS: "There are more problems than are shown.",
}


def _enum(kind: type[Enum], description: str, values: Mapping[Any, str]) -> None:
    """Show an enum that is defined elsewhere, with a description of each value."""
    definition: Any = strawberry.enum(kind, description=description)
    for value in definition.__strawberry_definition__.values:
        value.description = values[value.value]


_enum(SampleState, "Where a sample is on its way. It ends in COMPUTED, FAILED or REJECTED.", _STATES)
_enum(ProblemCode, "What kind of fault a problem is.", _CODES)

T = TypeVar("T")


@strawberry.type(name="Problem", description="What is wrong with a sample, and where.")
class ProblemType:
    """A problem as clients see it."""

    path: str = strawberry.field(description="A JSONPath into the sample, such as `$.data[17]`.")
    message: str = strawberry.field(description="What was expected and what was there, for people.")
    code: ProblemCode = strawberry.field(description="The kind of fault, for programs.")

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Show `problem`."""
        return cls(path=problem.path, message=problem.message, code=problem.code)


@strawberry.type(description="A measurement sample as it was submitted. It is kept whether it is valid or not.")
class Sample:
    """A header; what is not in it is read when it is asked for."""

    header: Private[Header]
    fresh: Private[bool]
    """The sample was just taken in, so there is no result to look for."""

    id: strawberry.ID = strawberry.field(description="The id of the sample, and of its result.")
    submitted_at: datetime = strawberry.field(description="When Firestore took the sample.")
    time_stamp: str | None = strawberry.field(
        description="The time stamp as submitted; null where the sample has no usable one."
    )
    count: int = strawberry.field(description="How many values `data` has; 0 where it is no list.")
    bytes: int = strawberry.field(description="The length of the raw document.")
    sha256: str = strawberry.field(description="The SHA-256 of the raw document, in hexadecimal.")

    @classmethod
    def of(cls, header: Header, *, fresh: bool = False) -> Self:
        """Show the sample of `header`; `fresh` where it was just taken in."""
        assert header.submitted_at is not None
        return cls(
            header=header,
            fresh=fresh,
            id=strawberry.ID(header.id),
            submitted_at=header.submitted_at,
            time_stamp=header.time_stamp,
            count=header.count,
            bytes=header.byte_count,
            sha256=header.sha256,
        )

    @strawberry.field(description="Where the sample is on its way.")
    async def state(self, info: Info) -> SampleState:
        """Derive the state from the header and the result."""
        result = await self._result(info)
        return state_of(self.header.arrival, None if result is None else result.status)

    @strawberry.field(description="What is wrong with the sample; empty unless it is REJECTED or FAILED.")
    async def problems(self, info: Info) -> list[ProblemType]:
        """Collect the problems that validation and the function found."""
        result = await self._result(info)
        found = [*self.header.problems, *([result.problem] if result and result.problem else [])]
        return [ProblemType.of(problem) for problem in found]

    @strawberry.field(description="What was computed from the sample; null unless it is COMPUTED.")
    async def result(self, info: Info) -> Annotated["Result", strawberry.lazy("graphql_api.types")] | None:
        """Load the result."""
        result = await self._result(info)
        return None if result is None or result.statistics is None else Result.of(result)

    @strawberry.field(description="The raw document, exactly as it was submitted.")
    async def raw(self, info: Info) -> JSON:
        """Load the raw document."""
        return JSON(await info.context.raw(self.header))

    @strawberry.field(description="The values, or a part of them; empty where the sample is REJECTED.")
    async def data(
        self,
        info: Info,
        first: Annotated[int | None, strawberry.argument(description="At most so many values.")] = None,
        offset: Annotated[int, strawberry.argument(description="Skip so many values first.")] = 0,
    ) -> Vector:
        """Load the raw document and cut the values out of it."""
        for name, given in (("first", first), ("offset", offset)):
            if given is not None and given < 0:
                raise BadRequest(f"expected 0 or more, got {given} - at `{name}`")
        if self.header.problems:
            return Vector([])
        values = await info.context.values.load(self.header.id)
        return Vector(list(values[offset : None if first is None else offset + first]))

    async def _result(self, info: Info) -> StoredResult | None:
        if self.fresh or self.header.problems:
            return None
        return await info.context.results.load(self.header.id)


@strawberry.type(description="What was computed from a sample. Its id is the sample's.")
class Result:
    """A computed result; failed ones are shown as problems of their sample."""

    id: strawberry.ID = strawberry.field(description="The id of the sample that it was computed from.")
    timestamp: datetime = strawberry.field(description="The time stamp of the sample, in UTC.")
    count: int = strawberry.field(description="How many values the sample has.")
    mean: float = strawberry.field(description="The arithmetic mean of the values, correctly rounded.")
    standard_deviation: float = strawberry.field(
        description="The population standard deviation: the root of the mean squared distance from the mean."
    )
    minimum: float = strawberry.field(description="The smallest value.")
    maximum: float = strawberry.field(description="The largest value.")
    computed_at: datetime = strawberry.field(description="When Firestore took the result.")
    statistics_version: int = strawberry.field(
        description="Goes up when a statistic is added or its definition changes."
    )

    @classmethod
    def of(cls, result: StoredResult) -> Self:
        """Show a computed result."""
        statistics = result.statistics
        assert statistics is not None
        assert result.timestamp is not None
        assert result.computed_at is not None
        return cls(
            id=strawberry.ID(result.sample_id),
            timestamp=result.timestamp,
            count=statistics.count,
            mean=statistics.mean,
            standard_deviation=statistics.standard_deviation,
            minimum=statistics.minimum,
            maximum=statistics.maximum,
            computed_at=result.computed_at,
            statistics_version=result.statistics_version,
        )

    @strawberry.field(description="The sample that it was computed from.")
    async def sample(self, info: Info) -> Sample:
        """Load the sample's header."""
        header = await info.context.headers.load(self.id)
        if header is None:
            raise LookupError(f"the result {self.id} has no sample")
        return Sample.of(header)


@strawberry.type(description="Where a page begins and ends, and whether there is more (Relay).")
class PageInfo:
    """Relay's page information."""

    has_next_page: bool = strawberry.field(description="There is more behind `endCursor`.")
    has_previous_page: bool = strawberry.field(description="The page was asked for with `after`.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge.")
    end_cursor: str | None = strawberry.field(description="Pass it as `after` to get the next page.")

    @classmethod
    def of(cls, page: Page[T], after: Cursor | None) -> Self:
        """Describe `page`, which was asked for with `after`."""
        cursors = [cursor for cursor, _ in page.edges]
        end = cursors[-1] if cursors and page.end is None else page.end
        return cls(
            has_next_page=page.has_next,
            has_previous_page=after is not None,
            start_cursor=cursors[0].encode() if cursors else None,
            end_cursor=end.encode() if end else None,
        )


@strawberry.type(description="A result and its place, from which one can go on.")
class ResultEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The place of this result; pass it as `after`.")
    node: Result = strawberry.field(description="The result.")


@strawberry.type(description="A page of results (Relay).")
class ResultConnection:
    """Relay's connection."""

    edges: list[ResultEdge] = strawberry.field(description="The results of this page, in the order asked for.")
    page_info: PageInfo = strawberry.field(description="Where the page begins and ends.")


@strawberry.type(description="A sample and its place, from which one can go on.")
class SampleEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The place of this sample; pass it as `after`.")
    node: Sample = strawberry.field(description="The sample.")


@strawberry.type(description="A page of samples (Relay).")
class SampleConnection:
    """Relay's connection."""

    edges: list[SampleEdge] = strawberry.field(description="The samples of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where the page begins and ends.")

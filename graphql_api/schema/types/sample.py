"""A sample as clients see it. Fields that cost a read from Firestore are read only if they are requested."""

from datetime import datetime
from typing import Annotated, Self

import strawberry
from strawberry import Private

from graphql_api.schema.context import Info
from graphql_api.schema.types.problem import ProblemType, SampleState
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.scalars import JSON, Vector
from storage.documents import BadRequest, Header, state_of
from storage.documents import Result as StoredResult


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
    async def result(self, info: Info) -> Result | None:
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

"""What can be wrong with a sample, and the states that it can be in, as GraphQL shows them.

A trap: the enums are described here, so whoever uses them in the schema takes them from here, not from `documents`.
"""

from typing import Self

import strawberry

from graphql_api.schema.types.enums import describe_enum
from storage.documents import Problem, ProblemCode, SampleState

__all__ = ["ProblemCode", "ProblemType", "SampleState"]

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


describe_enum(SampleState, "Where a sample is on its way. It ends in COMPUTED, FAILED or REJECTED.", _STATES)
describe_enum(ProblemCode, "What kind of fault a problem is.", _CODES)


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

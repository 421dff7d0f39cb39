"""Problems and states of samples as clients see them.

Note: importing this module registers `ProblemCode` and `SampleState` as GraphQL enums. Other modules of the schema
therefore import both enums from this module.
"""

from datetime import datetime
from typing import Self

import strawberry

from graphql_api.schema.types.enums import describe_enum
from storage.documents import FailedAttempts as StoredFailedAttempts
from storage.documents import Problem, ProblemCode, SampleState

__all__ = ["FailedAttempts", "ProblemCode", "ProblemType", "SampleState"]

_STATES = {
    SampleState.PENDING: "The sample is stored. Its result is not computed yet.",
    SampleState.COMPUTED: "The result is stored.",
    SampleState.SUPERSEDED: "The result is stored, but another sample corrects this sample. Lists of results omit it.",
    SampleState.FAILED: "The result cannot be computed. `problems` contains the reason.",
    SampleState.DELETED: (
        "The sample has just been deleted, or it has expired and has no result. When Firestore has deleted its "
        "documents, the sample no longer exists."
    ),
    SampleState.REJECTED: "The sample is invalid. It is stored without a result. `problems` contains the reasons.",
}
_CODES = {
    ProblemCode.MISSING: "A required member is missing.",
    ProblemCode.WRONG_TYPE: "A value has the wrong type.",
    ProblemCode.EMPTY: "A list or a string is empty.",
    ProblemCode.OUT_OF_RANGE: (
        "A number exceeds the range of IEEE 754 doubles, or a time is outside the years 1 to 9999."
    ),
    ProblemCode.DUPLICATE_KEY: "A member appears more than once, so its value is ambiguous.",
    ProblemCode.TOO_DEEP: "Lists and objects are nested too deeply.",
    ProblemCode.TOO_LONG: "The sample has too many members, or a string, a number or a run of whitespace is too long.",
    ProblemCode.INVALID_TIME_STAMP: "The string is not a date and time.",
    ProblemCode.NO_UTC_OFFSET: "The time stamp has no UTC offset.",
    ProblemCode.INVALID_LABEL: (
        "A label has an invalid name or value, or there are too many labels. A value has 1 to 64 printable characters. "
        "Zero-width joiners may occur between them, as in emoji."
    ),
    ProblemCode.INCOMPLETE: "The stored bytes are damaged: they differ from the submitted bytes.",
    ProblemCode.NOT_COMPUTABLE: "The function failed because of an internal error. The sample is not the cause.",
    ProblemCode.OVER_BUDGET: "The computation needs more time or memory than the function allows for one sample.",
    ProblemCode.GIVEN_UP: "The function failed several times to compute the result, and Dropzone stopped retrying. "
    "Recompute the sample.",
    ProblemCode.MORE_PROBLEMS: "The sample has more problems than the response lists.",
}


describe_enum(
    SampleState,
    "The state of a sample. A submitted sample becomes COMPUTED, FAILED or REJECTED. The *function* is the service "
    "that computes the results. A COMPUTED sample becomes SUPERSEDED when another sample corrects it. The subscription "
    "`sample` completes when the state is not PENDING.",
    _STATES,
)
describe_enum(ProblemCode, "The kind of a problem.", _CODES)


@strawberry.type(name="Problem", description="A problem of a sample. It says what is wrong, and where.")
class ProblemType:
    """A problem as clients see it."""

    path: str = strawberry.field(description="The JSONPath of the problem in the sample, for example `$.data[17]`.")
    message: str = strawberry.field(description="A human-readable message: what the server expected and what it got.")
    code: ProblemCode = strawberry.field(description="The kind of the problem, as a code for programs.")

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return the GraphQL object of a stored problem."""
        return cls(path=problem.path, message=problem.message, code=problem.code)


@strawberry.type(
    description=(
        "The failed attempts to compute a sample. Dropzone updates these fields after 2, 4, 8, ... failures, and "
        "when it stops retrying."
    )
)
class FailedAttempts:
    """Failed attempts as clients see them."""

    count: int = strawberry.field(description="The number of failed attempts until `updatedAt`.")
    problem: str = strawberry.field(description="A human-readable message: why the last attempt failed.")
    updated_at: datetime = strawberry.field(description="The time when these fields were last updated.")

    @classmethod
    def of(cls, attempts: StoredFailedAttempts) -> Self:
        """Return the GraphQL object of stored failed attempts."""
        return cls(count=attempts.count, problem=attempts.problem, updated_at=attempts.updated_at)

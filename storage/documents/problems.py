"""A problem of a submitted sample: its kind, its path, and a message with the expected and the actual value.

Problems are data, not exceptions: the API stores them with the sample and returns them to clients. A problem quotes at
most `MAX_ECHO_CHARACTERS` of the sample, and a sample lists at most `MAX_PROBLEMS` problems.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_PROBLEMS = 20
MAX_ECHO_CHARACTERS = 40


class ProblemCode(StrEnum):
    """The kind of a problem, as it is stored and as clients see it."""

    MISSING = "MISSING"
    WRONG_TYPE = "WRONG_TYPE"
    EMPTY = "EMPTY"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    TOO_DEEP = "TOO_DEEP"
    TOO_LONG = "TOO_LONG"
    INVALID_TIME_STAMP = "INVALID_TIME_STAMP"
    NO_UTC_OFFSET = "NO_UTC_OFFSET"
    INVALID_LABEL = "INVALID_LABEL"
    INCOMPLETE = "INCOMPLETE"
    NOT_COMPUTABLE = "NOT_COMPUTABLE"
    OVER_BUDGET = "OVER_BUDGET"
    GIVEN_UP = "GIVEN_UP"
    MORE_PROBLEMS = "MORE_PROBLEMS"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem at `path`, a JSONPath into the sample such as `$.data[17]`.

    `message` is a human-readable text. Programs use `code`.
    """

    path: str
    message: str
    code: ProblemCode

    def fields(self) -> dict[str, object]:
        """Return the fields of the stored problem."""
        return {"path": self.path, "message": self.message, "code": self.code.value}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Problem":
        """Return the problem that is stored as `fields`."""
        return cls(str(fields["path"]), str(fields["message"]), ProblemCode(str(fields["code"])))


def echo(value: str) -> str:
    """Return `value` for a message, shortened to `MAX_ECHO_CHARACTERS` and with control characters escaped."""
    shown = value if len(value) <= MAX_ECHO_CHARACTERS else value[:MAX_ECHO_CHARACTERS] + "…"
    return ascii(shown)[1:-1] if not shown.isprintable() else shown

"""A problem: what is wrong with a submitted sample, where, and what was expected.

Problems are data, not errors: they are stored with the sample and shown to whoever asks. They echo
at most a few characters of what was submitted, and a sample has at most `MAX_PROBLEMS` of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_PROBLEMS = 20
MAX_ECHO_CHARACTERS = 40


class ProblemCode(StrEnum):
    """What kind of fault a problem is; the value is what clients see and what is stored."""

    MISSING = "MISSING"
    WRONG_TYPE = "WRONG_TYPE"
    EMPTY = "EMPTY"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    TOO_DEEP = "TOO_DEEP"
    INVALID_TIME_STAMP = "INVALID_TIME_STAMP"
    NO_UTC_OFFSET = "NO_UTC_OFFSET"
    INCOMPLETE = "INCOMPLETE"
    NOT_COMPUTABLE = "NOT_COMPUTABLE"
    MORE_PROBLEMS = "MORE_PROBLEMS"


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` is a JSONPath into the sample, such as `$.data[17]`; `message` is written for people."""

    path: str
    message: str
    code: ProblemCode

    def fields(self) -> dict[str, object]:
        """Return the problem as it is stored."""
        return {"path": self.path, "message": self.message, "code": self.code.value}

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Problem":
        """Read back what `fields` gave."""
        return cls(str(fields["path"]), str(fields["message"]), ProblemCode(str(fields["code"])))


def echo(value: str) -> str:
    """Return `value` quoted for a message, cut so that a message stays short."""
    shown = value if len(value) <= MAX_ECHO_CHARACTERS else value[:MAX_ECHO_CHARACTERS] + "…"
    return ascii(shown)[1:-1] if not shown.isprintable() else shown

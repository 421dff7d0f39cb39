"""The states of a sample. A submission ends in exactly one of COMPUTED, FAILED and REJECTED.

`PENDING` is stored nowhere: it is an accepted sample without a result. So no write can leave a
sample in two states, and no crash between two writes in none.
"""

from enum import StrEnum


class Arrival(StrEnum):
    """What validation said when the sample came in; stored in its header and never changed."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class Status(StrEnum):
    """What the trigger function said; stored in the result."""

    COMPUTED = "COMPUTED"
    FAILED = "FAILED"


class SampleState(StrEnum):
    """What a client sees."""

    PENDING = "PENDING"
    COMPUTED = "COMPUTED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"


def state_of(arrival: Arrival, status: Status | None = None) -> SampleState:
    """Return the state of a sample that arrived so, with a result of that status or none yet."""
    if arrival is Arrival.REJECTED:
        return SampleState.REJECTED
    return SampleState.PENDING if status is None else SampleState(status.value)

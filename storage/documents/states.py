"""The states of a sample. A submission ends in exactly one of COMPUTED, FAILED and REJECTED.

PENDING is not stored: it is the state of an accepted sample without a result. A write can therefore not leave a sample
in two states, and a crash between two writes cannot leave it without a state.
"""

from enum import StrEnum


class Arrival(StrEnum):
    """The outcome of validation on arrival. It is stored in the header and never changes."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class Status(StrEnum):
    """The outcome of the trigger function. It is stored in the result."""

    COMPUTED = "COMPUTED"
    FAILED = "FAILED"


class SampleState(StrEnum):
    """The state of a sample as clients see it."""

    PENDING = "PENDING"
    COMPUTED = "COMPUTED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"


def state_of(arrival: Arrival, status: Status | None = None) -> SampleState:
    """Return the state of a sample that arrived so, with a result of that status or none yet."""
    if arrival is Arrival.REJECTED:
        return SampleState.REJECTED
    return SampleState.PENDING if status is None else SampleState(status.value)

"""The states of a sample. A submission ends in exactly one of COMPUTED, FAILED and REJECTED.

PENDING is not stored: it is the state of an accepted sample without a result. Therefore no write can leave a sample in
two states, and a crash between two writes cannot leave a sample without a state.
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
    """Return the state of a sample. `status` is the status of its result, or None if the sample has no result."""
    if arrival is Arrival.REJECTED:
        return SampleState.REJECTED
    return SampleState.PENDING if status is None else SampleState(status.value)

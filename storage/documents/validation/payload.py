"""Read a submitted sample: its time stamp and its numbers, or all of its problems.

Two readers do the work. The typed reader is fast and accepts only samples without problems. Any other text goes to the
thorough reader, which reports every problem with its path. Both accept the same samples.
"""

from array import array
from dataclasses import dataclass
from datetime import datetime, tzinfo

from storage.documents.errors import InvalidSample
from storage.documents.validation import thorough_reader, typed_reader
from storage.documents.validation.validation_report import ValidationReport


@dataclass(frozen=True, slots=True)
class Payload:
    """The content of a valid sample: `timestamp` in UTC, and at least one finite double in `data`."""

    timestamp: datetime
    data: "array[float]"


def read(raw: bytes, default_time_zone: tzinfo | None = None) -> Payload:
    """Return the payload of `raw`, a JSON text in UTF-8.

    `default_time_zone` applies to a time stamp without a UTC offset. Raises `InvalidSample` with the problems of an
    invalid sample, and `NotJson` if `raw` is not a JSON text.
    """
    data: array[float] = array("d")
    report = typed_reader.read(raw, default_time_zone, data.extend)
    if report is None:
        data = array("d")
        report = thorough_reader.read(raw, default_time_zone, data.extend)
    if report.timestamp is None or report.problems:
        raise InvalidSample(report.problems)
    return Payload(report.timestamp, data)


def validate(raw: bytes, default_time_zone: tzinfo | None = None) -> ValidationReport:
    """Return the report on `raw`: up to `MAX_PROBLEMS` problems and the number of the others.

    Raises `NotJson` if `raw` is not a JSON text.
    """
    report = typed_reader.read(raw, default_time_zone, _discard)
    return thorough_reader.read(raw, default_time_zone, _discard) if report is None else report


def _discard(numbers: list[float]) -> None:
    del numbers

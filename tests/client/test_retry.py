"""The client retries transient errors. These tests need no server."""

import math
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

from dropzone import DropzoneError, Forbidden, Unavailable, Unreachable
from dropzone.transport.failures import http_error
from dropzone.transport.retry import retrying


class Request:
    """A request that fails with these errors, one per attempt, and then succeeds."""

    def __init__(self, *errors: DropzoneError) -> None:
        self._errors = list(errors)
        self.attempts = 0

    async def send(self) -> str:
        """Raise the next error or return a response."""
        self.attempts += 1
        if self._errors:
            raise self._errors.pop(0)
        return "response"


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """Return the waits before retries in seconds, as they are scheduled."""
    hooks = get_on_retry_hooks()
    seconds: list[float] = []

    def record(details: RetryDetails) -> None:
        seconds.append(details.wait_for)

    set_on_retry_hooks([record])
    yield seconds
    set_on_retry_hooks(hooks)


def unavailable(retry_after: float) -> Unavailable:
    """Return an error with `Retry-After`."""
    error = Unavailable("busy")
    error.retry_after = retry_after
    return error


async def test_transient_errors_are_retried() -> None:
    """The response of the first successful attempt is returned."""
    request = Request(Unreachable("broken"), Unavailable("busy"))

    assert await retrying(60.0)(request.send) == "response"
    assert request.attempts == 3


async def test_retry_after_is_honored(waits: list[float]) -> None:
    """The wait is at least as long as the server requests, and longer than the backoff would be."""
    request = Request(unavailable(0.7))

    assert await retrying(60.0)(request.send) == "response"
    assert len(waits) == 1
    assert waits[0] >= 0.7


async def test_a_retry_is_logged_with_its_error_and_without_the_sample(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The default hook of stamina logs the arguments of the call. A sample can have 64 MiB."""
    request = Request(Unreachable("cannot connect to http://localhost"))
    hooks = get_on_retry_hooks()
    set_on_retry_hooks(None)

    async def send(raw: bytes) -> str:
        return await request.send()

    await retrying(60.0)(send, b"the values of a sample")
    set_on_retry_hooks(hooks)

    own = [record.getMessage() for record in caplog.records if record.name == "dropzone"]
    assert own == ["cannot connect to http://localhost; retrying for up to 60 s"]
    assert "the values" not in str([vars(record) for record in caplog.records])


def test_the_line_of_stamina_is_not_printed_if_logging_is_not_configured() -> None:
    """It is `stamina.retry_scheduled`, without the error."""
    script = "import logging, dropzone; logging.getLogger('stamina').warning('printed')"

    ran = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Forbidden("no scope"), 60.0),
        (Unreachable("broken"), 0.0),
        (unavailable(3600.0), 60.0),
    ],
)
async def test_error_without_a_retry_is_raised(error: DropzoneError, seconds: float) -> None:
    """It is permanent, or retries are disabled, or the server requests a longer wait than the limit."""
    request = Request(error)

    with pytest.raises(type(error)):
        await retrying(seconds)(request.send)
    assert request.attempts == 1


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 03 Dec 2026 10:00:30 GMT", 30.0),
        ("Thu Dec  3 10:00:30 2026", 30.0),
        ("Thu, 03 Dec 2026 09:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999999999 23:59:59 GMT", None),
        ("soon", None),
    ],
)
def test_retry_after_can_be_a_date(retry_after: str, seconds: float | None) -> None:
    """The date counts from the clock of the server. A past date allows a retry at once. Other texts are ignored."""
    headers = {"date": "Thu, 03 Dec 2026 10:00:00 GMT", "retry-after": retry_after}

    assert http_error("http://localhost", 503, headers, None).retry_after == seconds


@pytest.mark.parametrize(
    "extensions", [None, ["x"], {"retryAfter": "30s"}, {"retryAfter": -1}, {"retryAfter": math.nan}]
)
def test_unusual_extensions_of_an_error_are_ignored(extensions: object) -> None:
    """A gateway in front of the server can send them. The client raised a `ValueError` or an `AttributeError`."""
    error = http_error("http://localhost", 429, {}, {"errors": [{"message": "wait", "extensions": extensions}]})

    assert (str(error), error.retry_after) == ("wait", None)


def test_a_date_without_the_time_of_the_server_counts_from_now() -> None:
    """A server without a clock sends no header `Date`."""
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)

    retry_after = http_error("http://localhost", 503, {"retry-after": tomorrow}, None).retry_after

    assert retry_after is not None
    assert 80_000 < retry_after <= 86_400

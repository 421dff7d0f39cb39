"""An outage that fails every event is logged in few lines."""

import logging

import pytest

from observability.throttled_log import LOG_SECONDS, ThrottledLog


def test_similar_warnings_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The first one is logged at once, and then one per period with the number of the others."""
    now = 0.0
    log = ThrottledLog(logging.getLogger("test"), clock=lambda: now)
    for number in range(1_000):
        log.warning("sample %d: responded 503", number)
    now += LOG_SECONDS
    log.warning("sample %d: responded 503", 1_000)

    assert [record.getMessage() for record in caplog.records] == [
        "sample 0: responded 503",
        "sample 1000: responded 503 (and 999 similar warnings before)",
    ]

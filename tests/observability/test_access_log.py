"""The access log: one line per request, and a bounded number of lines a second."""

import logging

import pytest

from observability.logs import MAX_ACCESS_LINES_PER_SECOND, AccessLog


def write(log: AccessLog, status: int) -> None:
    """Write about one request."""
    log.write(
        method="POST",
        route="/samples",
        status=status,
        seconds=0.0125,
        request_bytes=2_060,
        response_bytes=97,
        address="192.0.2.1",
    )


def test_a_line_has_the_fields_of_http_request(caplog: pytest.LogCaptureFixture) -> None:
    """Cloud Logging shows them in columns. Sizes are texts, because JSON numbers have 53 bits."""
    with caplog.at_level(logging.INFO):
        write(AccessLog(), 201)

    (record,) = caplog.records
    assert record.getMessage() == "POST /samples 201, 12.5 ms, 2060 bytes in, 97 bytes out"
    assert record.__dict__["httpRequest"] == {
        "requestMethod": "POST",
        "requestUrl": "/samples",
        "requestSize": "2060",
        "status": 201,
        "responseSize": "97",
        "remoteIp": "192.0.2.1",
        "latency": "0.012500s",
    }


def test_further_lines_of_a_second_are_omitted_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Failures have their own limit, so a flood of other requests does not hide them."""
    now = [0.5]
    log = AccessLog(lambda: now[0])
    with caplog.at_level(logging.INFO):
        for _ in range(MAX_ACCESS_LINES_PER_SECOND + 7):
            write(log, 201)
        write(log, 503)
        now[0] = 1.5
        write(log, 201)

    statuses = [record.__dict__["httpRequest"]["status"] for record in caplog.records]
    assert statuses == [201] * MAX_ACCESS_LINES_PER_SECOND + [503, 201]
    assert caplog.records[-1].__dict__["omitted"] == 7
    assert [record.levelname for record in caplog.records[-2:]] == ["WARNING", "INFO"]

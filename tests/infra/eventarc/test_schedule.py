"""Schedules call URLs at an interval."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from infra.embedded.eventarc import schedule
from tests.infra.eventarc.machine import Event, Function, until
from tests.infra.firestore.server_process import FirestoreProcess

WITHOUT_CLIENT = """
import sys
from infra.embedded.eventarc import schedule
from infra.embedded.firestore.__main__ import main

schedule.HttpClient = None
sys.exit(main())
"""
"""A server whose schedules end with a TypeError."""

EVERY_MOMENT = {"name": "clean-up", "interval_seconds": 0.01}


async def test_a_schedule_calls_its_url_again_and_again(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call carries the token. A call that fails does not end the schedule."""
    monkeypatch.setenv("TOKEN", "secret")
    statuses = iter([500, None])

    async def fail_at_first(_: Event) -> int | None:
        return next(statuses, 200)

    function.respond = fail_at_first
    (every_moment,) = schedule.read([EVERY_MOMENT | {"url": function.url, "token_variable": "TOKEN"}])

    running = asyncio.create_task(every_moment.run())
    await until(lambda: len(function.events) >= 4)
    running.cancel()

    assert {event.headers["authorization"] for event in function.events} == {"Bearer secret"}
    assert {event.body for event in function.events} == {b""}


async def test_a_schedule_continues_when_its_url_is_reachable_again(
    function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    """A call while the function is down is logged."""
    await function.stop()
    (every_moment,) = schedule.read([EVERY_MOMENT | {"url": function.url}])
    running = asyncio.create_task(every_moment.run())

    await until(lambda: f"schedule clean-up: the call of {function.url} failed: " in caplog.text)
    await function.start()
    await until(lambda: len(function.events) >= 1)
    running.cancel()


async def test_a_call_without_a_response_does_not_end_the_schedule(
    function: Function, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails after the deadline, and the next call follows."""
    released = asyncio.Event()

    async def hang(_: Event) -> int:
        await released.wait()
        return 200

    function.respond = hang
    (every_moment,) = schedule.read([EVERY_MOMENT | {"url": function.url, "deadline_seconds": 0.05}])

    running = asyncio.create_task(every_moment.run())
    await until(lambda: len(function.events) >= 2)
    running.cancel()
    released.set()

    assert "failed: no response within 0.05 s" in caplog.text


def test_the_server_ends_if_a_schedule_ends(tmp_path: Path) -> None:
    """The supervisor then starts it again. Otherwise, the schedule would stop without a line in the log."""
    file = tmp_path / "schedules.toml"
    file.write_text('[[schedules]]\nname = "audit"\nurl = "http://127.0.0.1/"\ninterval_seconds = 0.01\n')
    firestore = FirestoreProcess(tmp_path, f"--triggers={file}")
    firestore.program = ("-c", WITHOUT_CLIENT)
    firestore.start()

    code = firestore.wait()

    assert code == 1
    assert "TypeError" in firestore.log.read_text()
    firestore.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interval_seconds": 0}, "schedule 'clean-up': Expected `float` > 0"),
        ({"url": "/path"}, "schedule 'clean-up': expected url to be an ASCII HTTP URL, got '/path'"),
        ({"url": "http://a/ä"}, "schedule 'clean-up': expected url to be an ASCII HTTP URL, got 'http://a/ä'"),
        (
            {"url": "http://a:99999/"},
            "schedule 'clean-up': expected url to be an ASCII HTTP URL, got 'http://a:99999/'",
        ),
        ({"url": "http://a..b/"}, "schedule 'clean-up': expected url to be an ASCII HTTP URL, got 'http://a..b/'"),
        ({"token_variable": "UNSET"}, "schedule 'clean-up': expected a token .* environment variable UNSET"),
        ({"token_variable": "NOT_ASCII"}, "schedule 'clean-up': expected a token .* environment variable NOT_ASCII"),
        ({"every": 5}, "schedule 'clean-up': Object contains unknown field `every`"),
    ],
)
def test_an_invalid_schedule_is_refused(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str) -> None:
    """The message names the schedule and the option."""
    monkeypatch.setenv("NOT_ASCII", "ä")
    with pytest.raises(schedule.InvalidSchedule, match=f"^{message}"):
        schedule.read([EVERY_MOMENT | {"url": "http://127.0.0.1/"} | changes])

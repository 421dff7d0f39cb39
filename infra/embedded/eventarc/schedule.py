"""A schedule: calls a URL at a fixed interval, as Cloud Scheduler does.

A failed call is not repeated before the next interval. A call that takes longer than the interval delays the next call.
This process makes the calls, because it has the secret with which the function authenticates requests.
"""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from infra.embedded.eventarc.fault_injection import Seconds
from infra.embedded.eventarc.http_client import BrokenConnection, HttpClient, Unreachable, is_valid_token, is_valid_url

MAX_LOGGED_BYTES = 300

logger = logging.getLogger("eventarc")


class InvalidSchedule(Exception):
    """A schedule is invalid. The message names the schedule and says why."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of `[[schedules]]`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,63}$")]
    url: str
    interval_seconds: Seconds
    deadline_seconds: Seconds = 300.0
    """How long a call may take."""
    token_variable: str | None = None
    """The environment variable with the bearer token of every call, or None if calls carry no token."""

    @property
    def token(self) -> str:
        """The bearer token of every call, or an empty text."""
        return "" if self.token_variable is None else os.environ.get(self.token_variable, "")

    async def run(self) -> None:
        """Call the URL until cancelled. The first call is after one interval."""
        client = HttpClient(self.url)
        try:
            while True:
                await asyncio.sleep(self.interval_seconds)
                problem = await self._call(client)
                if problem is not None:
                    logger.warning("schedule %s: the call of %s failed: %s", self.name, self.url, problem)
        finally:
            client.close()

    async def _call(self, client: HttpClient) -> str | None:
        """Call the URL once. Return the problem, or None."""
        headers = {"user-agent": "Google-Cloud-Scheduler", "x-cloudscheduler-jobname": self.name}
        if self.token_variable is not None:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            response = await client.post(headers, b"", self.deadline_seconds)
        except TimeoutError:
            return f"no response within {self.deadline_seconds:g} s"
        except (Unreachable, BrokenConnection) as error:
            return str(error)
        if 200 <= response.status < 300:
            return None
        return f"{response.status} {response.body[:MAX_LOGGED_BYTES].decode(errors='replace')}"


def read(tables: Iterable[Mapping[str, Any]]) -> list[Schedule]:
    """Validate the tables of `[[schedules]]` and return them as schedules. Raises `InvalidSchedule`."""
    schedules = []
    for table in tables:
        try:
            schedule = msgspec.convert(table, Schedule)
        except msgspec.ValidationError as error:
            raise InvalidSchedule(f"schedule {table.get('name', '')!r}: {error}") from error
        if not is_valid_url(schedule.url):
            raise InvalidSchedule(
                f"schedule {schedule.name!r}: expected url to be an ASCII HTTP URL, got {schedule.url!r}"
            )
        if schedule.token_variable is not None and not is_valid_token(schedule.token):
            raise InvalidSchedule(
                f"schedule {schedule.name!r}: expected a token of printable ASCII characters without spaces in the "
                f"environment variable {schedule.token_variable}"
            )
        schedules.append(schedule)
    return schedules

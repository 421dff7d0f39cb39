"""One event, one POST: sent as Eventarc does, and judged by its answer.

The trap is the difference between a function that answers with a fault and one that is not there:
the first is the event's own affair, the second (Unreachable) says nothing about the event and stands
for all that wait. A connection that breaks after the request was sent is a fault of the first kind: it
may be this very event that brings the function down.
"""

import asyncio
from collections.abc import Callable
from random import Random

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from infra.embedded.eventarc import cloudevent
from infra.embedded.eventarc.trigger import Misbehaviour, Trigger
from infra.embedded.firestore.storage import Change

ACKNOWLEDGING = frozenset({200, 201, 202, 204})  # as Pub/Sub push; 102 is never a final answer
KEEP_ALIVE_SECONDS = 1.0  # less than what common servers close idle connections after
CONNECT_SECONDS = 5.0
REORDER_SECONDS = 0.5
LONGEST_PROBLEM = 300


class Unreachable(Exception):
    """Nobody listens at the address: no attempt was made."""


def new_session() -> ClientSession:
    """Return the session that all triggers share; how much goes on at once is bounded by each of them."""
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
        cookie_jar=DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        auto_decompress=False,
    )


class Push:
    """Sends the events of one trigger."""

    def __init__(self, session: ClientSession, trigger: Trigger) -> None:
        """Prepare what is the same for every event."""
        self._session = session
        self._trigger = trigger
        self._kind = trigger.kind
        self._url = URL(trigger.url)
        self._timeout = ClientTimeout(total=trigger.deadline, sock_connect=CONNECT_SECONDS)

    async def send(self, change: Change, attempts: int) -> str | None:
        """Send the event; return None if it was acknowledged, else the problem. Unreachable if nobody is there."""
        misbehaviour = self._trigger.misbehaviour
        if misbehaviour is None:
            return await self._post(change)
        random = Random(f"{misbehaviour.seed}/{change.sequence}/{attempts}")
        return await self._misbehave(change, misbehaviour, random.random)

    async def probe(self) -> bool:
        """Tell whether somebody listens at the address."""
        assert self._url.host is not None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(self._url.host, self._url.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    async def _post(self, change: Change) -> str | None:
        headers = cloudevent.headers(change, self._kind, self._trigger.location)
        body = cloudevent.body(change, self._trigger.largest_body_bytes)
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                answer = await response.read()
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            raise Unreachable(str(error)) from error
        except TimeoutError:
            return f"no acknowledgement within {self._trigger.deadline:g} s"
        except ClientError as error:
            return f"{type(error).__name__}: {error}"[:LONGEST_PROBLEM]
        if response.status in ACKNOWLEDGING:
            return None
        return f"{response.status} {answer[:LONGEST_PROBLEM].decode(errors='replace')}"

    async def _misbehave(self, change: Change, misbehaviour: Misbehaviour, random: Callable[[], float]) -> str | None:
        if random() < misbehaviour.delay:
            await asyncio.sleep(random() * misbehaviour.delay_seconds)
        if random() < misbehaviour.reorder:
            await asyncio.sleep(random() * REORDER_SECONDS)
        if random() < misbehaviour.duplicate:
            problem, _ = await asyncio.gather(self._post(change), self._post(change))
        else:
            problem = await self._post(change)
        if random() < misbehaviour.drop_acknowledgement:
            return "the acknowledgement was dropped on purpose"
        return problem

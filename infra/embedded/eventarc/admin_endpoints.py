"""HTTP endpoints for operators and tests: list dead letters and resend them.

The endpoints reject unknown parameters. Otherwise a misspelled `sequence` would resend all dead letters.
"""

import sqlite3
from functools import partial

from aiohttp import web

from infra.embedded.eventarc import dead_letters
from infra.embedded.firestore.storage.storage import Storage

PATH = "/eventarc/dead-letters"


class DeadLetterEndpoints:
    """Endpoints for the dead letters of the Firestore that runs in this process."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(PATH, self._list), web.post(f"{PATH}/resend", self._resend)]

    async def _list(self, request: web.Request) -> web.Response:
        _reject_unknown_parameters(request, {"trigger"})
        trigger = request.query.get("trigger")

        def work(connection: sqlite3.Connection) -> list[dead_letters.DeadLetter]:
            return dead_letters.read(connection, trigger)

        letters = [
            {
                "trigger": letter.trigger,
                "sequence": letter.sequence,
                "document": letter.name,
                "written_at": letter.written_at.isoformat(),
                "attempts": letter.attempts,
                "problem": letter.problem,
            }
            for letter in await self._storage.read(work)
        ]
        return web.json_response({"dead_letters": letters})

    async def _resend(self, request: web.Request) -> web.Response:
        _reject_unknown_parameters(request, {"trigger", "sequence"})
        sequences = [_sequence(text) for text in request.query.getall("sequence", [])]
        work = partial(dead_letters.resend, trigger=request.query.get("trigger"), sequences=sequences)
        return web.json_response({"resent": await self._storage.execute(work)})


def _sequence(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise web.HTTPBadRequest(
            text=f"expected a whole number, got {text!r} - at the query parameter `sequence`\n"
        ) from None


def _reject_unknown_parameters(request: web.Request, known: set[str]) -> None:
    unknown = set(request.query) - known
    if unknown:
        raise web.HTTPBadRequest(
            text=f"unknown query parameter {', '.join(sorted(unknown))}; use only {', '.join(sorted(known))}\n"
        )

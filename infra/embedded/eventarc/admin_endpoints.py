"""HTTP endpoints for operators and tests: list dead letters and resend them.

An unknown parameter is an error. If `sequence` were misspelled and ignored, a request would resend everything.
"""

import sqlite3
from functools import partial

from aiohttp import web

from infra.embedded.eventarc import dead_letters
from infra.embedded.firestore.storage.storage import Storage

PATH = "/eventarc/dead-letters"


class DeadLetterEndpoints:
    """Endpoints on the file of the Firestore that runs in this process."""

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
        try:
            sequences = [int(sequence) for sequence in request.query.getall("sequence", [])]
        except ValueError:
            raise web.HTTPBadRequest(text="expected sequence to be a number\n") from None
        work = partial(dead_letters.resend, trigger=request.query.get("trigger"), sequences=sequences)
        return web.json_response({"resent": await self._storage.execute(work)})


def _reject_unknown_parameters(request: web.Request, known: set[str]) -> None:
    unknown = set(request.query) - known
    if unknown:
        raise web.HTTPBadRequest(
            text=f"unknown parameter: {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}\n"
        )

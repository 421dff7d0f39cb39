"""For operators and tests, over HTTP: dead letters, listed and sent again.

A parameter that is misspelled is refused, not passed over: without its `sequence`, a request would send
everything again.
"""

import sqlite3
from functools import partial

from aiohttp import web

from infra.embedded.eventarc import dead_letters
from infra.embedded.firestore.storage.storage import Storage

DEAD_LETTERS = "/eventarc/dead-letters"


class Operations:
    """Answers from the file of the Firestore that runs in this process."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def routes(self) -> list[web.RouteDef]:
        """Return what can be asked."""
        return [web.get(DEAD_LETTERS, self._list), web.post(f"{DEAD_LETTERS}/resend", self._resend)]

    async def _list(self, request: web.Request) -> web.Response:
        _check(request, {"trigger"})
        trigger = request.query.get("trigger")

        def work(connection: sqlite3.Connection) -> list[dead_letters.DeadLetter]:
            return dead_letters.listed(connection, trigger, dead_letters.MAX_LISTED)

        found = [
            {
                "trigger": letter.trigger,
                "sequence": letter.sequence,
                "document": letter.name,
                "written": letter.written.isoformat(),
                "attempts": letter.attempts,
                "problem": letter.problem,
            }
            for letter in await self._storage.read(work)
        ]
        return web.json_response({"dead_letters": found})

    async def _resend(self, request: web.Request) -> web.Response:
        _check(request, {"trigger", "sequence"})
        try:
            sequences = [int(sequence) for sequence in request.query.getall("sequence", [])]
        except ValueError:
            raise web.HTTPBadRequest(text="sequence must be a number\n") from None
        again = partial(dead_letters.send_again, trigger=request.query.get("trigger"), sequences=sequences)
        return web.json_response({"sent_again": await self._storage.execute(again)})


def _check(request: web.Request, known: set[str]) -> None:
    unknown = set(request.query) - known
    if unknown:
        raise web.HTTPBadRequest(
            text=f"no such parameter: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}\n"
        )

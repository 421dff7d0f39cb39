"""HTTP endpoints for operators and tests: list undelivered events and dead letters, and resend dead letters.

The endpoints reject unknown parameters. Otherwise a misspelled `sequence` would resend all dead letters. They also
reject a repeated parameter, except `sequence`: the other value would be ignored.
"""

from functools import partial
from typing import Any

from aiohttp import web

from infra.embedded.eventarc import dead_letters, undelivered
from infra.embedded.eventarc.delivery.delivery import State
from infra.embedded.firestore.storage.storage import Storage

UNDELIVERED = "/eventarc/undelivered"
DEAD_LETTERS = "/eventarc/dead-letters"


class DeliveryEndpoints:
    """Endpoints for the undelivered events of the Firestore server in this process."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get(UNDELIVERED, self._list),
            web.get(DEAD_LETTERS, self._list_dead_letters),
            web.post(f"{DEAD_LETTERS}/resend", self._resend),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        _reject_unknown_parameters(request, {"trigger", "document", "state"})
        return web.json_response({"undelivered": await self._read(**request.query)})

    async def _list_dead_letters(self, request: web.Request) -> web.Response:
        _reject_unknown_parameters(request, {"trigger"})
        return web.json_response({"dead_letters": await self._read(state=State.DEAD, **request.query)})

    async def _read(
        self, trigger: str | None = None, document: str | None = None, state: str | None = None
    ) -> list[dict[str, Any]]:
        read = partial(undelivered.read, trigger=trigger, document=document, state=state)
        return [
            {
                "trigger": event.trigger,
                "sequence": event.sequence,
                "document": event.name,
                "written_at": event.written_at.isoformat(),
                "state": event.state,
                "attempts": event.attempts,
                "crashes": event.crashes,
                "problem": event.problem,
            }
            for event in await self._storage.read(read)
        ]

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
    for name in known - {"sequence"}:
        if len(request.query.getall(name, [])) > 1:
            raise web.HTTPBadRequest(text=f"the query parameter `{name}` is repeated; use it once\n")

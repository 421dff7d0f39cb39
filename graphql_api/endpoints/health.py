"""`GET /healthz` and `GET /readyz`: whether the process runs, and whether it can serve requests.

Anyone can send these requests. The response therefore has no message of Firestore that can name projects or addresses.
The log has the whole message.
"""

import logging
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from graphql_api.budgets.budgets import Budgets
from graphql_api.endpoints.endpoint import Endpoint, public
from runtime.shared_tasks import SharedTasks
from storage.documents import Unavailable
from storage.firestore.errors import text_for_log

_FIRESTORE_TIMEOUT_SECONDS = 1.0

logger = logging.getLogger("graphql_api")


class Services(Protocol):
    """The services that these endpoints use."""

    budgets: Budgets

    async def check_firestore(self, timeout_seconds: float) -> None:
        """Check that Firestore responds to reads and accepts writes. Raises `Unavailable`."""


class _Problem(NamedTuple):
    """Why the process is not ready."""

    text: str
    text_for_log: str


class HealthEndpoints:
    """The endpoints that load balancers and supervisors poll."""

    def __init__(self, services: Services, local_key_path: Path | None) -> None:
        self._services = services
        self._local_key_path = local_key_path
        """The file that clients read when the API is ready. None if it has existed: an operator may delete it then."""
        self._is_ready = True
        self._checks = SharedTasks[None, _Problem | None]()
        """Requests that arrive during a check share it, because no key is required."""

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return `GET /healthz` and `GET /readyz`."""
        return [public(Route("/healthz", self._get_health)), public(Route("/readyz", self._get_readiness))]

    async def _get_health(self, request: Request) -> Response:
        """Respond with 200. A response means that the process is running."""
        del request
        return PlainTextResponse("healthy\n")

    async def _get_readiness(self, request: Request) -> Response:
        """Respond with 200 if Firestore serves reads and writes and the local key has existed. Otherwise with 503.

        The log gets a line when the process stops being ready, and a line when it is ready again.
        """
        del request
        problem = await self._checks.run(None, self._find_problem)
        await self._services.budgets.request_turns.wait(lambda: "")  # all requests that share a check continue together
        was_ready, self._is_ready = self._is_ready, problem is None
        if problem is None:
            if not was_ready:
                logger.info("the API is ready again")
            return PlainTextResponse("ready\n")
        if was_ready:
            logger.warning("the API is not ready: %s", problem.text_for_log)
        return PlainTextResponse(f"{problem.text}\n", 503)

    async def _find_problem(self) -> _Problem | None:
        """Return why the process is not ready, or None if it is."""
        try:
            await self._services.check_firestore(_FIRESTORE_TIMEOUT_SECONDS)
        except Unavailable as error:
            return _Problem(str(error), text_for_log(error))
        if self._local_key_path is not None:
            if not await anyio.Path(self._local_key_path).exists():
                text = f"the API key file {self._local_key_path} does not exist yet"
                return _Problem(text, text)
            self._local_key_path = None
        return None

"""The credentials of requests: an API key, or an access token of the server's identity provider."""

import inspect
from collections.abc import Awaitable, Callable

Token = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""An access token, or a function that returns the current token. The function is called before each request."""


class Credentials:
    """Returns the headers that authenticate a request. If another submitter is read, the headers name it."""

    def __init__(self, key: str, token: Token | None, submitter: str | None = None) -> None:
        self._key = key
        self._token = token
        self._named = {} if submitter is None else {"x-submitter": submitter}

    async def headers(self) -> dict[str, str]:
        """Return the headers. The first message of a WebSocket contains the same values."""
        if self._token is None:
            return {"x-api-key": self._key, **self._named}
        token = self._token if isinstance(self._token, str) else self._token()
        return {"authorization": f"Bearer {await token if inspect.isawaitable(token) else token}", **self._named}

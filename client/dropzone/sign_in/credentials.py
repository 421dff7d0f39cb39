"""The credentials of requests: an API key, or an access token of the server's identity provider."""

import inspect
from collections.abc import Awaitable, Callable

from dropzone.errors import Unauthenticated

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
            headers = {"x-api-key": self._key, **self._named}
        else:
            token = self._token if isinstance(self._token, str) else self._token()
            text = str(await token if inspect.isawaitable(token) else token).strip()
            headers = {"authorization": f"Bearer {text}", **self._named}
        if not all(isinstance(value, str) and value.isprintable() for value in headers.values()):
            raise Unauthenticated("expected only printable characters in the API key, the token and the submitter")
        return headers

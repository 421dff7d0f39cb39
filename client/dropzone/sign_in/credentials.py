"""Credentials of requests, and the identity that the server reports for them.

A credential is an API key, or an access token of the server's identity provider.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from dropzone.encoding import parse_time, text
from dropzone.errors import BadUserInput, Unauthenticated

Token = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""An access token, or a function that returns the current token. The function is called before each request."""


class Credentials:
    """Returns the headers that authenticate a request. If another submitter is read, the headers name it."""

    def __init__(self, key: str, token: Token | None, submitter: str | None = None) -> None:
        if token is not None and not isinstance(token, str) and not callable(token):
            kind = type(token).__name__
            raise BadUserInput(f"expected an access token as text, or a function that returns it, got {kind}")
        self._key = key
        self._token = token
        self._named = {} if submitter is None else {"x-submitter": text(submitter, "a submitter")}

    async def headers(self) -> dict[str, str]:
        """Return the headers. The first message of a WebSocket contains the same values."""
        if self._token is None:
            headers = {"x-api-key": self._key, **self._named}
        else:
            token = self._token if isinstance(self._token, str) else self._token()
            current = str(await token if inspect.isawaitable(token) else token).strip()
            headers = {"authorization": f"Bearer {current}", **self._named}
        if not all(value.isprintable() for value in headers.values()):
            raise Unauthenticated("expected only printable characters in the API key, the token and the submitter")
        return headers


@dataclass(frozen=True, slots=True)
class Identity:
    """The submitter that a key or token belongs to, its scopes, and when it expires."""

    submitter: str
    scopes: tuple[str, ...]
    expires: datetime | None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the identity in a response of the server."""
        expires = values["expires"]
        return cls(values["submitter"], tuple(values["scopes"]), None if expires is None else parse_time(expires))

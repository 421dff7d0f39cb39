"""Pages of other origins that may use the HTTP API (CORS), with a credential that their scripts send.

Their requests never have the session of a user: browsers get no permission to send cookies, and the API ignores a
cookie in a request of another origin.
"""

from collections.abc import Callable, Collection
from functools import partial

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

AllowOrigins = Callable[[ASGIApp], ASGIApp]
"""Returns an application whose responses the pages of allowed origins may read."""

EXPOSED_HEADERS = (
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Upload-Limit",
    "WWW-Authenticate",
    "X-Request-Id",
)
"""The headers of responses that scripts may read. Browsers show them a few others by default."""


def allow_origins(origins: Collection[str]) -> AllowOrigins:
    """Return the function that lets pages of `origins` read responses. Without origins, it changes nothing."""
    if not origins:
        return lambda app: app
    return partial(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "DELETE", "OPTIONS"),
        allow_headers=("*",),  # names of labels are part of the headers `x-label-NAME`
        expose_headers=EXPOSED_HEADERS,
    )

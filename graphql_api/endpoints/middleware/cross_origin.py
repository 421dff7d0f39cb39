"""Pages of other origins that may use the HTTP API (CORS), with a credential that their scripts send.

Their requests never have the session of a user: browsers get no permission to send cookies, and the API ignores a
cookie in a request of another origin.
"""

from collections.abc import Collection

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

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


def cross_origin_middleware(origins: Collection[str]) -> list[Middleware]:
    """Return the middleware that lets pages of `origins` read responses. Without origins, requests pass none."""
    if not origins:
        return []
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST", "DELETE", "OPTIONS"),
        allow_headers=("*",),  # names of labels are part of the headers `x-label-NAME`
        expose_headers=EXPOSED_HEADERS,
    )
    return [cors]

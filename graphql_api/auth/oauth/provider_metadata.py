"""The metadata of one identity provider: the addresses of its keys and of its endpoints.

The server reads the metadata by OpenID discovery or RFC 8414 when it first needs an address, and again when the
metadata is ten minutes old. If the provider does not respond, the server uses the metadata for up to a day.

After a failed read, a request waits at most `RETRY_WAIT_SECONDS` for the next read. The read continues without it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import aiohttp

from graphql_api.client_text import shorten
from graphql_api.configuration.identity_providers import is_secure

COOLDOWN_SECONDS = 30.0
FRESH_SECONDS = 600.0
MAX_AGE_SECONDS = 86_400.0
RETRY_WAIT_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 256 * 1024
_REFUSALS = (400, 401)
"""The statuses with which a provider refuses a form (RFC 6749, section 5.2)."""

Fetch = Callable[[str], Awaitable[Mapping[str, object]]]

logger = logging.getLogger("graphql_api")


class ProviderError(Exception):
    """The provider did not respond, or its response violates the specifications. The text is for the log."""


class ProviderRefusal(ProviderError):
    """The provider has refused a form."""


class ProviderMetadata:
    """The metadata of the provider at `issuer`. All requests share one read."""

    def __init__(self, issuer: str, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = issuer
        self.fetch = fetch or fetch_json
        self._clock = clock
        self._values: Mapping[str, object] = {}
        self._read_at = float("-inf")
        self._next_read_at = float("-inf")
        self._has_read_failed = False
        self._reading: asyncio.Task[None] | None = None

    async def endpoint(self, name: str, *, fresh_seconds: float = FRESH_SECONDS) -> str:
        """Return an address in metadata that is read again after `fresh_seconds`.

        Raises `ProviderError` if the metadata cannot be read, or if the address is missing or not secure. An address
        on this machine is secure only for a provider on this machine.
        """
        url = (await self._read(fresh_seconds)).get(name)
        needs_https = urlsplit(self.issuer).scheme == "https"
        if not isinstance(url, str) or not is_secure(url) or (needs_https and urlsplit(url).scheme != "https"):
            raise ProviderError(f"expected `{name}` with https in the metadata of {self.issuer}, got {url}")
        return url

    async def _read(self, fresh_seconds: float) -> Mapping[str, object]:
        now = self._clock()
        is_old = now > self._read_at + fresh_seconds
        if is_old and self._reading is None and now >= self._next_read_at:
            self._next_read_at = now + COOLDOWN_SECONDS
            self._reading = asyncio.create_task(self._read_values())
        if is_old and self._reading is not None:
            # If the client of one request disconnects, the read continues, because other requests wait for it.
            await asyncio.wait([self._reading], timeout=RETRY_WAIT_SECONDS if self._has_read_failed else None)
        if self._clock() > self._read_at + MAX_AGE_SECONDS:
            raise ProviderError(
                f"the metadata of {self.issuer} could not be read; the server tries again within {COOLDOWN_SECONDS:g} s"
            )
        return self._values

    async def _read_values(self) -> None:
        """Read the metadata. If this fails, log why and keep the previous metadata."""
        try:
            self._values = await self._fetch_values()
            self._read_at = self._clock()
            self._has_read_failed = False
        except ProviderError as error:
            self._has_read_failed = True
            logger.warning("the metadata of the issuer %s cannot be read: %s", self.issuer, error)
        finally:
            self._reading = None

    async def _fetch_values(self) -> Mapping[str, object]:
        parts = urlsplit(self.issuer)
        path = parts.path.rstrip("/")
        addresses = (
            f"{self.issuer.rstrip('/')}/.well-known/openid-configuration",
            parts._replace(path=f"/.well-known/oauth-authorization-server{path}").geturl(),
        )
        for address in addresses:
            try:
                values = await self.fetch(address)
            except ProviderError as error:
                problem = error
                continue
            if values.get("issuer") != self.issuer:
                raise ProviderError(f"expected the issuer {self.issuer}, got {values.get('issuer')} - at {address}")
            return values
        raise problem


async def fetch_json(url: str, form: Mapping[str, str] | None = None) -> Mapping[str, object]:
    """Return the JSON object at `url`, or in the response to a form. Follows no redirects.

    Raises `ProviderRefusal` if the provider refuses the form, and `ProviderError` for all other failures.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)) as session,
            session.request(
                "GET" if form is None else "POST",
                url,
                data=form,
                allow_redirects=False,
                headers={"accept": "application/json"},
            ) as response,
        ):
            body = b""
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ProviderError(f"{url} responded with more than {_MAX_BYTES:,} bytes")
            if form is not None and response.status in _REFUSALS:
                raise ProviderRefusal(f"{url} responded with status {response.status}: {shorten(repr(body))}")
            if response.status != 200:
                raise ProviderError(f"{url} responded with status {response.status}")
            value = json.loads(body)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
        raise ProviderError(f"{url}: {type(error).__name__}: {error}") from error
    if not isinstance(value, dict):
        raise ProviderError(f"{url} responded without a JSON object")
    return value

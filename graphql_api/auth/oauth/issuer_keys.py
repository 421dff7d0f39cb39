"""The signing keys of one identity provider.

The server reads the keys when the first token arrives. It reads them again when they are ten minutes old, or when a
token names an unknown key. All requests share one read, and the server sends at most one request per
`COOLDOWN_SECONDS`. If the provider does not respond, the server uses the keys for up to a day.
"""

import asyncio
import json
import logging
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from graphql_api.identity_providers import is_secure
from storage.documents import Unavailable

COOLDOWN_SECONDS = 30.0
FRESH_SECONDS = 600.0
MAX_AGE_SECONDS = 86_400.0
_TIMEOUT_SECONDS = 5.0
_MAX_BYTES = 256 * 1024
_MAX_KEYS = 100

PublicKey = RSAKey | ECKey | OKPKey
Fetch = Callable[[str], Awaitable[Mapping[str, object]]]

logger = logging.getLogger("graphql_api")


class ProviderError(Exception):
    """The provider did not respond, or its response violates the specifications."""


class IssuerKeys:
    """The keys of the provider at `issuer`, by key id."""

    def __init__(self, issuer: str, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._metadata: Mapping[str, object] | None = None
        self._metadata_lock = asyncio.Lock()
        self._next_metadata_at = float("-inf")
        self._keys: dict[str | None, PublicKey] = {}
        self._read_at = float("-inf")
        self._next_read_at = float("-inf")
        self._has_read_failed = False
        """Whether the last read failed. The provider can then have keys that are not known."""
        self._read: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None) -> PublicKey | None:
        """Return the key with this id, or None if the provider has no such key.

        Without a key id, return the key of a provider with a single key. Raises `Unavailable` if the provider cannot be
        asked for the key now, or if all known keys are too old.
        """
        now = self._clock()
        key = self.known(key_id)
        if self._read is None and (key is None or now > self._read_at + FRESH_SECONDS) and now >= self._next_read_at:
            self._next_read_at = now + COOLDOWN_SECONDS
            self._read = asyncio.create_task(self._read_keys())
        if self._read is not None and key is None:
            await asyncio.shield(self._read)
            key = self.known(key_id)
        if (key is None and self._has_read_failed) or self._clock() > self._read_at + MAX_AGE_SECONDS:
            raise Unavailable("the keys of the identity provider cannot be read now; retry later", retry_after=30)
        return key

    async def metadata(self) -> Mapping[str, object]:
        """Return the provider's metadata, by OpenID discovery or RFC 8414. It is read once.

        Raises `ProviderError`. After a failure, the next request is sent when the cooldown has ended.
        """
        async with self._metadata_lock:
            if self._metadata is None:
                if self._clock() < self._next_metadata_at:
                    raise ProviderError(
                        f"the metadata of {self._issuer} could not be read; the server tries again within "
                        f"{COOLDOWN_SECONDS:g} s"
                    )
                self._next_metadata_at = self._clock() + COOLDOWN_SECONDS
                self._metadata = await self._read_metadata()
            return self._metadata

    async def _read_metadata(self) -> Mapping[str, object]:
        parts = urlsplit(self._issuer)
        path = parts.path.rstrip("/")
        addresses = (
            f"{self._issuer.rstrip('/')}/.well-known/openid-configuration",
            parts._replace(path=f"/.well-known/oauth-authorization-server{path}").geturl(),
        )
        for address in addresses:
            try:
                metadata = await self._fetch(address)
            except ProviderError as error:
                problem = error
                continue
            if metadata.get("issuer") != self._issuer:
                raise ProviderError(f"expected the issuer {self._issuer}, got {metadata.get('issuer')} - at {address}")
            return metadata
        raise problem

    async def endpoint(self, name: str) -> str:
        """Return an address in the provider's metadata. Raises `ProviderError` if it is missing or not secure."""
        url = (await self.metadata()).get(name)
        if not isinstance(url, str) or not is_secure(url):
            raise ProviderError(f"expected `{name}` with https in the metadata of {self._issuer}, got {url}")
        return url

    def known(self, key_id: str | None) -> PublicKey | None:
        """Return the key with this id, or None if it was not read yet. Sends no request to the provider."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def _read_keys(self) -> None:
        """Read the keys. If this fails, log why and keep the previous keys."""
        try:
            url = await self.endpoint("jwks_uri")
            keys = (await self._fetch(url)).get("keys")
            if not isinstance(keys, list):
                raise ProviderError(f"expected a list `keys` - at {url}")  # noqa: TRY301 - logged below
            usable = {key.kid: key for jwk in keys[:_MAX_KEYS] if (key := _public_key(jwk)) is not None}
            self._keys = dict(usable)
            self._read_at = self._clock()
            self._has_read_failed = False
        except ProviderError as error:
            self._has_read_failed = True
            logger.warning("the keys of the issuer %s cannot be read: %s", self._issuer, error)
        finally:
            self._read = None


async def fetch_json(url: str, form: Mapping[str, str] | None = None) -> Mapping[str, object]:
    """Return the JSON object at `url`, or in the response to a form. Raises `ProviderError`. Follows no redirects."""
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
            if response.status != 200:
                raise ProviderError(f"{url} responded with status {response.status}")
            value = json.loads(body)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
        raise ProviderError(f"{url}: {type(error).__name__}: {error}") from error
    if not isinstance(value, dict):
        raise ProviderError(f"{url} responded without a JSON object")
    return value


def _public_key(jwk: object) -> PublicKey | None:
    """Return a key that may verify signatures. Return None for other keys, such as encryption keys and short keys."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # joserfc warns of an RSA key below 2,048 bits
            key = JWKRegistry.import_key(jwk)
    except (JoseError, Warning, ValueError, TypeError, KeyError):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None

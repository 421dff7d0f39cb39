"""The certificate of the server. After a renewal, new connections get the new certificate without a restart."""

import asyncio
import logging
import math
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from graphql_api.metrics import CERTIFICATE_EXPIRY

_CHECK_SECONDS = 10.0
_WARN_BEFORE = timedelta(days=14)  # programs such as certbot renew a certificate earlier
_WARN_SECONDS = 86_400.0

logger = logging.getLogger("graphql_api")


class _Version(NamedTuple):
    inode: int
    changed_ns: int
    size: int


class Certificate:
    """A certificate with its intermediate certificates and its private key, in two PEM files."""

    def __init__(self, certificate_file: str, key_file: str) -> None:
        """Read the files. Raises `OSError` or `ValueError` if they are not a certificate and its private key."""
        self._files = certificate_file, key_file
        self._versions = self._read_versions()
        self._refused: tuple[_Version | None, ...] = ()
        """The versions of the files that could not be used and are in the log."""
        self.context = self._load()
        """The TLS settings of new connections."""
        self._warned_at = -math.inf

    async def watch(self) -> None:
        """Read the files again when they change, and report when the certificate expires, until cancelled."""
        while True:
            CERTIFICATE_EXPIRY.set(self._expires_at.timestamp())
            self.warn_before_expiry(datetime.now(UTC))
            await asyncio.sleep(_CHECK_SECONDS)
            self.renew()

    def warn_before_expiry(self, now: datetime) -> None:
        """Log a warning if the certificate expires soon or has expired, at most once a day."""
        if now < self._expires_at - _WARN_BEFORE or time.monotonic() - self._warned_at < _WARN_SECONDS:
            return
        self._warned_at = time.monotonic()
        logger.warning(
            "the certificate of %s %s at %s: clients refuse an expired certificate, so renew it",
            self._files[0],
            "has expired" if now >= self._expires_at else "expires",
            self._expires_at.isoformat(),
        )

    def renew(self) -> None:
        """Read the files again if they have changed. While they cannot be used, the earlier certificate is kept.

        A renewal replaces the files one after the other. Until both are replaced, they do not belong together.
        """
        versions = self._read_versions()
        if versions == self._versions:
            return
        try:
            self.context = self._load()
        except (OSError, ValueError) as error:
            if versions != self._refused:
                logger.warning(
                    "new connections still get the earlier certificate, because %s and %s have changed and cannot be "
                    "used: %s",
                    *self._files,
                    error,
                )
            self._refused = versions
            return
        self._versions = versions
        self._warned_at = -math.inf
        logger.info("new connections get the renewed certificate of %s", self._files[0])

    def _load(self) -> ssl.SSLContext:
        for file in self._files:
            Path(file).open("rb").close()  # the error names the file; that of OpenSSL does not
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._files, password=_refuse_password)
        self._expires_at = _expiry(Path(self._files[0]).read_bytes())
        return context

    def _read_versions(self) -> tuple[_Version | None, ...]:
        return tuple(_version(Path(file)) for file in self._files)


def _expiry(chain: bytes) -> datetime:
    """Return when the first certificate of a chain expires."""
    from cryptography import x509  # importing it takes long, and only servers with a certificate need it

    try:
        return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc
    except ValueError:  # OpenSSL uses some certificates that this library refuses
        return datetime.max.replace(tzinfo=UTC)


def _version(file: Path) -> _Version | None:
    """Return what changes if a file is replaced or written, or None if the file is missing or not accessible."""
    try:
        found = file.stat()
    except OSError:  # `_load` raises this error, too
        return None
    return _Version(found.st_ino, found.st_mtime_ns, found.st_size)


def _refuse_password() -> str:
    raise ValueError("the key is encrypted")  # otherwise OpenSSL asks for the password on the terminal

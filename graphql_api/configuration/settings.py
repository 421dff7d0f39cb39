"""Settings of the API, read from environment variables. The defaults are made for a single machine."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from graphql_api.configuration import identity_providers
from graphql_api.configuration.certificate import Certificate
from graphql_api.configuration.limits import MAX_LIMIT, Limits
from graphql_api.configuration.network_settings import check_url, parse_metrics_sources, parse_origins, parse_proxies
from graphql_api.configuration.retention_settings import parse_retention
from graphql_api.configuration.setting_names import PREFIX, reject_unknown
from observability import logs, tracing
from runtime.environment_variables import read
from storage.documents import Retention, document_paths
from storage.firestore.environment import bearer_token

_OTHER_MINIMUMS = {"max_pending_writes_mib": f" ({PREFIX}MAX_SAMPLE_MIB)"}

MAX_SECONDS = 3_600
"""The maximum of settings in seconds. With a value in milliseconds, a write would never fail, for example."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. The field `api_port` is read from the environment variable `DROPZONE_API_PORT`, and so on."""

    host: str = "127.0.0.1"
    """Address that the API listens on."""

    api_port: int = 8000
    """Port that the API listens on. If it is not set, the variable `PORT` has the port, for example on Cloud Run."""

    max_sample_mib: int = 64
    """Maximum size of a sample, and of a GraphQL request, after decompression."""

    max_request_mib: int = 0
    """Maximum size of a request, before decompression, that a proxy in front of the API accepts. 0 means no limit.

    The API announces this limit to clients. The proxy enforces it.
    """

    shutdown_seconds: int = 1
    """How long requests in progress may continue after SIGTERM. After this time, they fail with UNAVAILABLE."""

    write_timeout_seconds: float = 10.0
    """How long a request waits for Firestore before it fails with UNAVAILABLE."""

    max_pending_writes_mib: int = 256
    """If the writes that wait for Firestore exceed this size, new writes fail with UNAVAILABLE immediately."""

    shards: int = 1
    """Number of shards of the time indexes. Each shard supports about 500 writes a second. Never lower this number."""

    default_time_zone: str = ""
    """Time zone for time stamps without a UTC offset, such as `Europe/Zurich`."""

    sample_retention_days: int = 0
    """For how many days samples are kept, unless their submitter has its own retention. 0 means forever."""

    result_retention_days: int = 0
    """For how many days results are kept, unless their submitter has its own retention. 0 means forever."""

    hourly_retention: str = "off"
    """How long the hourly statistics of expired results are kept: `off`, a number of days, or `forever`."""

    key_cache_seconds: float = 5.0
    """How long a key may still work after it was revoked."""

    max_buffered_results: int = 4_000
    """Results in memory for each submitter with subscribers. A subscriber reads older results from Firestore."""

    allowed_origins: str = ""
    """Other web origins whose pages may use the HTTP API and open WebSockets, separated by commas."""

    log_format: str = ""
    """`text` or `json`. Without this setting, the log is text on a terminal and JSON otherwise."""

    metrics_sources: str = ""
    """Addresses of the metrics of other processes. `/metrics` adds them to its own. The embedded stack sets this."""

    local_key_file: str = ""
    """File with the API key of the stack. `/readyz` waits for it. The embedded stack sets this."""

    tls_certificate_file: str = ""
    """File with the certificate of the server and its intermediate certificates, in PEM. The API then speaks HTTPS."""

    tls_key_file: str = ""
    """File with the private key of the certificate, in PEM."""

    trusted_proxies: str = ""
    """Addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted, separated by commas."""

    public_url: str = ""
    """Address at which clients reach the API, such as `https://dropzone.example.org`, for OAuth2."""

    oidc_issuers: str = ""
    """OpenID providers whose access tokens the API accepts, separated by commas."""

    oidc_audience: str = ""
    """The audience that an access token must have. By default, the public URL."""

    oidc_client_id: str = ""
    """The id of the public client with which pages and the command line sign in at the first issuer."""

    oidc_submitter_claim: str = "sub"
    """The claim of an access token that names the submitter."""

    oidc_scope_claim: str = "scope"
    """The claim of an access token with its scopes."""

    oidc_scopes: str = "submit=submit,read=read,admin=admin"
    """The provider's name of each scope."""

    limits: Limits = field(default_factory=Limits)
    """The limits of addresses, submitters and the process. Each of their fields is a setting too."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Return the settings of an environment. Raises `ValueError`, which names the unknown or invalid setting."""
        reject_unknown(environ, cls.names())
        bearer_token(environ)  # raises an error if it cannot be sent
        tracing.check(environ)
        limits = Limits(**{each.name: _value(environ, each) for each in fields(Limits)})
        values = {each.name: _value(environ, each) for each in fields(cls) if each.name != "limits"}
        if f"{PREFIX}API_PORT" not in environ:
            values["api_port"] = read(environ, "PORT", cls.api_port)
        return cls(**values, limits=limits)

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of all settings of the API."""
        return [each.name for each in (*fields(cls), *fields(Limits)) if each.name != "limits"]

    def __post_init__(self) -> None:
        """Raise `ValueError` for an invalid value, because every request would fail with it."""
        self._check_numbers()
        self._check_texts()
        parse_retention(self.sample_retention_days, self.result_retention_days, self.hourly_retention)
        self.read_certificate()

    def _check_numbers(self) -> None:
        minimums = {
            "max_sample_mib": 1,
            "max_request_mib": 0,
            "shutdown_seconds": 0,
            "write_timeout_seconds": 0.1,
            "max_pending_writes_mib": self.max_sample_mib,
            "shards": 1,
            "key_cache_seconds": 0,
            "sample_retention_days": 0,
            "result_retention_days": 0,
            "max_buffered_results": 1,
        }
        for name, minimum in minimums.items():
            value, rule = getattr(self, name), f"{PREFIX}{name.upper()} must be"
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{rule} a finite number, got {value}")
            if value < minimum:
                raise ValueError(f"{rule} at least {minimum}{_OTHER_MINIMUMS.get(name, '')}, got {value}")
            if name.startswith("max_") and value > MAX_LIMIT:
                raise ValueError(f"{rule} at most {MAX_LIMIT}, got {value}")
            if name.endswith("_seconds") and value > MAX_SECONDS:
                raise ValueError(f"{rule} at most {MAX_SECONDS} seconds, got {value}")
        if self.shards > document_paths.MAX_SHARDS:
            raise ValueError(f"{PREFIX}SHARDS must be at most {document_paths.MAX_SHARDS}, got {self.shards}")
        if not 1 <= self.api_port <= 65_535:
            raise ValueError(f"{PREFIX}API_PORT must be a port from 1 to 65535, got {self.api_port}")

    def _check_texts(self) -> None:
        try:
            ZoneInfo(self.default_time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"{PREFIX}DEFAULT_TIME_ZONE must be a time zone such as Europe/Zurich, got {self.default_time_zone}"
            ) from None
        parsers: Mapping[str, Callable[[str], object]] = {
            "log_format": logs.check_format,
            "metrics_sources": parse_metrics_sources,
            "allowed_origins": parse_origins,
            "trusted_proxies": parse_proxies,
            "public_url": check_url,
            **identity_providers.PARSERS,
        }
        for name, parse in parsers.items():
            try:
                parse(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{PREFIX}{name.upper()}: {error}") from None
        identity_providers.check_needed_settings(
            self.oidc_issuers, audience=self.oidc_audience, client_id=self.oidc_client_id, public_url=self.public_url
        )

    def read_certificate(self) -> Certificate | None:
        """Return the certificate with which the API speaks HTTPS, if any. Raises `ValueError` if it cannot be used."""
        files = self.tls_certificate_file, self.tls_key_file
        if not any(files):
            return None
        certificate, key = (f"{PREFIX}{name}" for name in ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"))
        if not all(files):
            raise ValueError(f"set both {certificate} and {key}, or neither")
        try:
            return Certificate(*files)
        except (OSError, ValueError) as error:
            raise ValueError(f"{certificate} and {key}: expected a certificate and its key in PEM: {error}") from None

    @property
    def has_tls(self) -> bool:
        """Whether the API itself speaks HTTPS."""
        return bool(self.tls_certificate_file)

    @property
    def public_address(self) -> str:
        """The address at which clients reach the API, without a slash at its end."""
        scheme = "https" if self.has_tls else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{self.host}:{self.api_port}"

    @property
    def can_sign_in(self) -> bool:
        """Whether users can sign in to the dashboard and GraphiQL with the first identity provider."""
        return bool(self.oidc_issuers and self.oidc_client_id)

    @property
    def token_audience(self) -> str:
        """The audience that an access token must have."""
        return self.oidc_audience or self.public_url.rstrip("/")

    @property
    def retention(self) -> Retention:
        """The retention of submitters that have not set one."""
        return parse_retention(self.sample_retention_days, self.result_retention_days, self.hourly_retention)

    @property
    def max_sample_bytes(self) -> int:
        """Maximum size of a sample, and of a GraphQL request, in bytes after decompression."""
        return self.max_sample_mib * 2**20

    @property
    def max_request_bytes(self) -> int:
        """Maximum size of a request in bytes, before decompression. 0 means no limit."""
        return self.max_request_mib * 2**20

    @property
    def local_key_path(self) -> Path | None:
        """Path of the file with the API key of the stack. None outside of the embedded stack."""
        return Path(self.local_key_file) if self.local_key_file else None


def _value(environ: Mapping[str, str], setting: "Field[Any]") -> Any:
    return read(environ, PREFIX + setting.name.upper(), setting.default)

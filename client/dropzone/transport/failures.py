"""The `DropzoneError` for each failure of a request: an HTTP response, or an exception of aiohttp or gql."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import yarl
from gql.transport.exceptions import TransportError, TransportProtocolError, TransportQueryError

from dropzone.errors import DropzoneError, Unavailable, UnexpectedResponse, Unreachable, error_from_response

_GATEWAY_STATUSES = frozenset({429, 502, 503, 504})


def redirect_refusal() -> aiohttp.TraceConfig:
    """Return the option of a session that refuses redirects: they would send the credentials to another address."""
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    return tracing


async def _refuse_redirect(session: object, context: object, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    del session, context
    response = redirect.response
    response.close()
    raise aiohttp.ClientResponseError(response.request_info, (), status=response.status, headers=response.headers)


def http_error(url: str, status: int, headers: Mapping[str, str], values: Any) -> DropzoneError:
    """Return the error for an HTTP response of an endpoint other than `/graphql`."""
    entry = _error_entry(values)
    error = _status_error(url, status) if entry is None else error_from_response(entry)
    return _with_retry_after(error, headers)


def transport_error(url: str, error: Exception) -> DropzoneError:
    """Return the error for an exception of gql or aiohttp."""
    if isinstance(error, TransportQueryError) and error.errors and isinstance(error.errors[0], dict):
        return error_from_response(error.errors[0])
    cause = error.__cause__ if isinstance(error, TransportError) and error.__cause__ else error
    if isinstance(cause, aiohttp.ClientHttpProxyError) and cause.status not in _GATEWAY_STATUSES:
        return UnexpectedResponse(f"the proxy refuses the connection to {url}: HTTP status {cause.status}")
    if isinstance(cause, aiohttp.ClientResponseError):
        path = str(cause.request_info.url).removeprefix(url)
        headers: Mapping[str, str] = cause.headers or {}
        location = headers.get("location", "").removesuffix(path)
        return _with_retry_after(_status_error(url, cause.status, location), headers)
    if isinstance(cause, aiohttp.ClientSSLError):
        _, fault = cause.args  # `errno` of an SSL error is not an error number of the operating system
        reason = getattr(fault, "verify_message", None) or str(fault.reason).replace("_", " ").lower()
        message = f"cannot establish a secure connection to {url}: {reason}"
        is_untrusted = isinstance(cause, aiohttp.ClientConnectorCertificateError)  # a retry does not help
        return UnexpectedResponse(message) if is_untrusted else Unreachable(message)
    if isinstance(cause, aiohttp.ClientConnectorDNSError):  # its number is not one of `os.strerror`
        is_of_proxy = cause.host != yarl.URL(url).raw_host
        target = f"{cause.host}, the proxy for {url}" if is_of_proxy else f"the host of {url}"
        return Unreachable(f"cannot find {target}: {cause.os_error.strerror}")
    if isinstance(cause, aiohttp.ClientConnectorError):
        reason = os.strerror(cause.errno) if cause.errno else cause.os_error
        is_of_proxy = isinstance(cause, aiohttp.ClientProxyConnectionError)
        target = f"{cause.host}:{cause.port}, the proxy for {url}" if is_of_proxy else url
        return Unreachable(f"cannot connect to {target}: {reason}")
    # The cause is a TypeError if the response is a number, and a ValueError if its text is not UTF-8.
    if isinstance(error, TransportProtocolError) or isinstance(cause, TypeError | ValueError):
        return UnexpectedResponse(f"{url} responds, but not as a Dropzone server")
    if isinstance(cause, TimeoutError):
        return Unreachable(f"{url} did not respond in time")
    return Unreachable(f"the connection to {url} broke: {str(cause) or type(cause).__name__}")


def _with_retry_after(error: DropzoneError, headers: Mapping[str, str]) -> DropzoneError:
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        error.retry_after = float(retry_after)
    elif (time := _parse_http_date(retry_after)) is not None:
        now = _parse_http_date(headers.get("date", "")) or datetime.now(UTC)  # the clock of this machine can be wrong
        error.retry_after = max(0.0, (time - now).total_seconds())
    return error


def _parse_http_date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC)  # HTTP dates are in UTC
    except (OverflowError, ValueError):
        return None


def _error_entry(values: Any) -> Mapping[str, Any] | None:
    """Return the entry of an error. If the server refuses a connection or headers, the body has a list of entries."""
    if not isinstance(values, dict):
        return None
    entries = values.get("errors")
    entry = entries[0] if isinstance(entries, list) and entries else values.get("error")
    return entry if isinstance(entry, dict) else None


def _status_error(url: str, status: int, location: str = "") -> DropzoneError:
    if status in _GATEWAY_STATUSES:
        return Unavailable(f"{url} is busy or down: HTTP status {status}")
    if location:
        return UnexpectedResponse(f"{url} redirects to {location}, and redirects are not followed; use the other URL")
    return UnexpectedResponse(f"{url} responds, but not as a Dropzone server: HTTP status {status}")

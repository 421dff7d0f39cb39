"""Rules on the headers of a request that the parser does not enforce.

A proxy and this server must agree on where a request ends and which host it is for. A request on which they could
disagree is therefore refused (RFC 9112, sections 3.2 and 6.3).
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

_HOST = re.compile(rb"[\w.~%!$&'()*+;=:\[\]-]*", re.ASCII)


def violation(headers: Mapping[bytes, bytes], http_version: Callable[[], str]) -> str | None:
    """Return what is wrong with a request, or None. The values of a repeated header are joined by commas."""
    host = headers.get(b"host")
    if host is None:
        if http_version() != "1.0":
            return "expected the header Host"
    elif not _is_host(host):
        return "expected one header Host with a valid host"
    if b"transfer-encoding" in headers:
        if headers[b"transfer-encoding"].lower() != b"chunked":
            return "expected the header Transfer-Encoding to be chunked; other codings are not supported"
        if b"content-length" in headers:
            return "expected Content-Length or Transfer-Encoding, got both"
        if http_version() == "1.0":
            return "HTTP/1.0 does not have the header Transfer-Encoding"
    if b"te" in headers and b"chunked" in headers[b"te"].lower():
        return "the header TE must not contain chunked"
    return None


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None

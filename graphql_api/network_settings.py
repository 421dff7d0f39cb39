"""Settings that name machines: the API itself, reverse proxies, and web origins whose pages may use the API."""

import re
from ipaddress import ip_network

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*]+")
_URL = re.compile(r"https?://[^/?#@*\s]+(/[^?#\s]*)?", re.IGNORECASE)


def parse_origins(text: str) -> frozenset[str]:
    """Return the origins in a text such as `https://example.org, https://example.com:8443`, as browsers send them.

    Raises `ValueError` for a text that no header `Origin` has, such as `*` or an address with a path.
    """
    origins = [origin.lower() for origin in _parts(text)]
    if invalid := [origin for origin in origins if not _ORIGIN.fullmatch(origin)]:
        raise ValueError(f"expected origins such as https://example.org, got {invalid[0]}")
    return frozenset(origins)


def check_proxies(text: str) -> None:
    """Raise `ValueError` if a text names something else than addresses and networks."""
    for address in _parts(text):
        try:
            ip_network(address)
        except ValueError:
            raise ValueError(f"expected addresses such as 10.0.0.0/8, got {address}") from None


def check_url(text: str) -> None:
    """Raise `ValueError` if a text is not the URL of a web site. It can be empty."""
    if text and not _URL.fullmatch(text):
        raise ValueError(f"expected a URL such as https://example.org, got {text}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

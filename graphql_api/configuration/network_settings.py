"""Settings that name machines: the API itself, other processes, reverse proxies, and origins of pages that use the API.

URLs and origins have ASCII characters only: headers contain them, and browsers send the ASCII form of a host name.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import urlsplit

_HOST = r"(?:\w[\w-]*(?:\.\w[\w-]*)*\.?|\[[\da-fA-F:.]+\])(?::\d+)?"
_PATH = r"/[\w./:~%!$&'()*+,;=@-]*"
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST}", re.ASCII)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
"""The ports that browsers leave out of an origin."""

_URL = re.compile(rf"https?://{_HOST}({_PATH})?", re.ASCII | re.IGNORECASE)
_SOURCE = re.compile(rf"http://{_HOST}{_PATH}|unix:[^:]+:{_PATH}", re.ASCII)
_MAPPED_BITS = 96
"""The bits of an IPv6 address before an IPv4 address."""


def parse_origins(text: str) -> frozenset[str]:
    """Return the origins in a text such as `https://example.org, https://example.com:8443`, as browsers send them.

    Raises `ValueError` for a text that no header `Origin` has, such as `*` or an address with a path.
    """
    origins = [origin.lower() for origin in _parts(text)]
    if invalid := [origin for origin in origins if not _is_address(origin, _ORIGIN)]:
        raise ValueError(f"expected origins such as https://example.org, got {invalid[0]}")
    return frozenset(map(_without_default_port, origins))


def parse_metrics_sources(text: str) -> Mapping[str, str]:
    """Return the address of each source by its name, from a text such as `name=http://host:port/path,name=unix:...`.

    Raises `ValueError` if a name or an address is missing or invalid, or if two sources have the same name.
    """
    sources: dict[str, str] = {}
    for part in _parts(text):
        name, _, address = (each.strip() for each in part.partition("="))
        if not name or not _is_address(address, _SOURCE):
            raise ValueError(f"expected name=http://host:port/path or name=unix:/socket:/path, got {part}")
        if name in sources:
            raise ValueError(f"the name {name} appears twice; use each name once")
        sources[name] = address
    return sources


def parse_proxies(text: str) -> list[str]:
    """Return the networks in a text such as `127.0.0.1, 10.0.0.0/8`, and the second form of each IPv4 network.

    `10.0.0.1` and `::ffff:10.0.0.1` are the same address. A proxy that accepts IPv6 and IPv4 connections on one socket
    uses the second form in `X-Forwarded-For`. Raises `ValueError` if a part is neither an address nor a network.
    """
    networks: list[IPv4Network | IPv6Network] = []
    for address in _parts(text):
        try:
            network = ip_network(address)
        except ValueError as error:  # such as: 10.0.0.1/8 has host bits set
            raise ValueError(f"expected addresses such as 10.0.0.0/8: {error}") from None
        networks.append(network)
        if isinstance(network, IPv4Network):
            networks.append(IPv6Network(f"::ffff:{network.network_address}/{network.prefixlen + _MAPPED_BITS}"))
        elif network.prefixlen >= _MAPPED_BITS and (mapped := network.network_address.ipv4_mapped):
            networks.append(IPv4Network((mapped, network.prefixlen - _MAPPED_BITS)))
    return [str(network) for network in networks]


def check_url(text: str) -> None:
    """Raise `ValueError` if a text is not the URL of a web site. It can be empty."""
    if text and not _is_address(text, _URL):
        raise ValueError(f"expected a URL such as https://example.org, got {text}")


def _is_address(text: str, pattern: re.Pattern[str]) -> bool:
    """Return whether a text matches a pattern, and a client can connect to its port and its IPv6 address."""
    try:
        parts = urlsplit(text)
        if parts.netloc.startswith("["):
            IPv6Address(parts.hostname or "")
        return pattern.fullmatch(text) is not None and parts.port != 0
    except ValueError:
        return False


def _without_default_port(origin: str) -> str:
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], ""))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]

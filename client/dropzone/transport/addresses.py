"""The address of a server, and the proxy on the way to it.

aiohttp would also read `~/.netrc` with its option `trust_env`. A password of that file would then replace the access
token, or be sent in addition to the API key.
"""

import ipaddress
from urllib.request import getproxies, proxy_bypass

import yarl


def parse_url(url: str) -> yarl.URL:
    """Return the URL of a server. Raises `ValueError` if it is not an HTTP URL with a host."""
    parsed = yarl.URL(url)
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        shown = url.rpartition("@")[2]  # without a password
        raise ValueError(f"expected a URL such as https://dropzone.example.org, got {shown!r}")
    return parsed


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment variable `HTTPS_PROXY` or `HTTP_PROXY` sets for a URL, or None.

    There is none for this machine, and for the hosts in `NO_PROXY`. Raises `ValueError` if it is not an HTTP proxy.
    """
    parsed = yarl.URL(url).with_user(None)
    if is_loopback(parsed.host or "") or proxy_bypass(parsed.authority):
        return None
    proxy = getproxies().get(parsed.scheme)
    if not proxy:
        return None
    address = yarl.URL(proxy if "://" in proxy else f"http://{proxy}")
    if address.scheme not in {"http", "https"} or not address.host:
        shown = proxy.rpartition("@")[2]  # without a password
        raise ValueError(f"expected an HTTP proxy such as http://proxy.example.org:3128, got {shown!r}")
    return str(address)

"""The identity providers whose access tokens the API accepts, as the settings describe them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

SCOPES = ("submit", "read", "admin", "read-all")
_SCOPE = re.compile(r"[!#-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One provider. With a prefix, `partner`, its user `a` is the submitter `partner.a`."""

    url: str
    prefix: str = ""


def parse_issuers(text: str) -> tuple[IssuerSettings, ...]:
    """Return the issuers in a text such as `https://id.example.org, partner=https://id.example.com`.

    Raises `ValueError` if an address is not secure, or if two issuers could name the same submitter.
    """
    issuers = [_issuer(part.strip()) for part in text.split(",") if part.strip()]
    if len({issuer.prefix for issuer in issuers}) < len(issuers):
        raise ValueError(
            "every issuer but one needs a prefix of its own, such as partner=https://id.example.com, because users of "
            "two issuers may have the same name"
        )
    return tuple(issuers)


def parse_scopes(text: str) -> Mapping[str, str]:
    """Return the scope of the provider by our scope, from a text such as `read=dropzone.read, admin=dropzone.admin`.

    Raises `ValueError` if a scope of ours does not exist, or if the other one cannot be a scope (RFC 6749).
    """
    pairs = {ours.strip(): theirs.strip() for ours, _, theirs in (part.partition("=") for part in text.split(","))}
    if unknown := sorted(set(pairs) - set(SCOPES)):
        raise ValueError(f"expected names out of {', '.join(SCOPES)}, got {unknown[0] or 'nothing'}")
    if missing := [ours for ours, theirs in pairs.items() if not theirs]:
        raise ValueError(f"expected a scope of the provider, such as {missing[0]}=dropzone.{missing[0]}")
    if invalid := [theirs for theirs in pairs.values() if not _SCOPE.fullmatch(theirs)]:
        raise ValueError(
            f"expected a scope of ASCII characters without spaces, quotes and backslashes, got {invalid[0]}"
        )
    return pairs


def is_secure(url: str) -> bool:
    """Return whether keys can be read from `url`: it has HTTPS, or is on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"


def _issuer(text: str) -> IssuerSettings:
    prefix, separator, url = text.partition("=")
    if not separator or "/" in prefix:
        prefix, url = "", text
    if not is_secure(url):
        raise ValueError(f"expected an address with https, got {url}")
    if prefix and not prefix.isalnum():
        raise ValueError(f"expected letters and digits before =, got {prefix}")
    return IssuerSettings(url, prefix)

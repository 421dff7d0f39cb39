"""The settings of the identity providers whose access tokens the API accepts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from graphql_api.configuration.network_settings import check_url
from graphql_api.scopes import Scope

_SCOPE = re.compile(r"[!#-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One provider. If its prefix is `partner`, its user `a` is the submitter `partner.a`."""

    url: str
    prefix: str = ""


def parse_issuers(text: str) -> tuple[IssuerSettings, ...]:
    """Return the issuers in a text such as `https://id.example.org, partner=https://id.example.com`.

    Raises `ValueError` if an address is not secure, or if two issuers could name the same submitter.
    """
    issuers = [_issuer(part.strip()) for part in text.split(",") if part.strip()]
    if len({issuer.prefix for issuer in issuers}) < len(issuers):
        raise ValueError(
            "expected a different prefix for each issuer, such as partner=https://id.example.com, because two issuers "
            "can have users with the same name; one issuer needs no prefix"
        )
    if len({issuer.url for issuer in issuers}) < len(issuers):
        raise ValueError("an issuer appears twice; list each issuer once, because its tokens have one prefix")
    return tuple(issuers)


def parse_scopes(text: str) -> Mapping[str, str]:
    """Return the provider's name of each scope, from a text such as `read=dropzone.read, admin=dropzone.admin`.

    Raises `ValueError` if Dropzone has no such scope, or if the provider's name is missing or cannot be a scope
    (RFC 6749).
    """
    parts = [part.partition("=") for part in text.split(",")]
    pairs = {ours.strip(): theirs.strip() for ours, _, theirs in parts}
    if unknown := sorted(set(pairs) - set(Scope)):
        raise ValueError(f"expected one of {', '.join(Scope)} before =, got {unknown[0] or 'nothing'}")
    if len(pairs) < len(parts):
        raise ValueError("a scope appears twice; list each scope once")
    if missing := [ours for ours, theirs in pairs.items() if not theirs]:
        raise ValueError(f"expected the provider's name of the scope, such as {missing[0]}=dropzone.{missing[0]}")
    if invalid := [theirs for theirs in pairs.values() if not _SCOPE.fullmatch(theirs)]:
        raise ValueError(
            f"expected a scope of ASCII characters without spaces, quotes and backslashes, got {invalid[0]}"
        )
    return pairs


def check_name(text: str) -> None:
    """Raise `ValueError` if a text starts or ends with a space: it would equal no value of a provider."""
    if text != text.strip():
        raise ValueError(f"expected a name without spaces at its start and its end, got {text!r}")


def check_claim(text: str) -> None:
    """Raise `ValueError` if a text cannot be the name of a claim."""
    check_name(text)
    if not text:
        raise ValueError("expected the name of a claim, got nothing")


PARSERS: Mapping[str, Callable[[str], object]] = {
    "oidc_issuers": parse_issuers,
    "oidc_audience": check_name,
    "oidc_client_id": check_name,
    "oidc_submitter_claim": check_claim,
    "oidc_scope_claim": check_claim,
    "oidc_scopes": parse_scopes,
}
"""For each setting, the function that raises `ValueError` if its value is invalid."""


def check_needed_settings(issuers: str, *, audience: str, client_id: str, public_url: str) -> None:
    """Raise `ValueError` if a setting has no effect without another setting that is missing."""
    if issuers and not (audience or public_url):
        raise ValueError(
            "DROPZONE_OIDC_ISSUERS is set without DROPZONE_PUBLIC_URL; set DROPZONE_PUBLIC_URL to the address that "
            "clients use"
        )
    for name, value in (("DROPZONE_OIDC_AUDIENCE", audience), ("DROPZONE_OIDC_CLIENT_ID", client_id)):
        if value and not issuers:
            raise ValueError(f"{name} is set without DROPZONE_OIDC_ISSUERS; set DROPZONE_OIDC_ISSUERS to the provider")


def is_secure(url: str) -> bool:
    """Return whether keys can be read from `url` safely: `url` has HTTPS, or is on this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as https://[::1
        return False
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
    check_url(url)
    if "/.well-known/" in url:
        raise ValueError(f"expected the issuer, as in the claim iss of its tokens, got the address of metadata: {url}")
    if url != text and not (prefix.isascii() and prefix.isalnum()):
        raise ValueError(f"expected letters and digits before =, got {prefix or 'nothing'}")
    return IssuerSettings(url, prefix)

"""Security headers of every kind of response, and whose forwarded headers are believed."""

from pathlib import Path

import httpx
import pytest

from tests.another_api import AnotherApi
from tests.stack import Stack

EXPECTED = {
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/graphql"),
        ("POST", "/graphql"),
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/results"),
        ("POST", "/samples"),
        ("GET", "/session"),
        ("GET", "/missing"),
        ("PUT", "/samples"),
        ("OPTIONS", "/samples"),
    ],
)
def test_every_response_has_security_headers_once(stack: Stack, method: str, path: str) -> None:
    """Pages, data, errors and refusals. No response allows another origin, and none claims HTTPS."""
    sent = {"origin": "https://evil.example", "access-control-request-method": "POST", "x-forwarded-proto": "https"}

    response = httpx.request(method, stack.url + path, headers={"accept": "text/html, application/json;q=0.9"} | sent)

    assert {name: response.headers.get_list(name) for name in EXPECTED} == {
        name: [value] for name, value in EXPECTED.items()
    }
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "permissions-policy" in response.headers
    assert "strict-transport-security" not in response.headers
    assert not any(name.startswith("access-control-") for name in response.headers)


@pytest.mark.parametrize(("path", "opener"), [("/", ["same-origin"]), ("/graphql", ["same-origin"]), ("/results", [])])
def test_a_page_is_separate_from_the_windows_that_open_it(stack: Stack, path: str, opener: list[str]) -> None:
    """A page of another origin that opens it gets no reference to its window. Data is not a window."""
    response = httpx.get(stack.url + path, headers={"accept": "text/html, application/json;q=0.9"})

    assert response.headers.get_list("cross-origin-opener-policy") == opener


def test_the_scheme_of_a_trusted_proxy_is_believed(stack: Stack, tmp_path: Path) -> None:
    """Behind a proxy with TLS, the cookie is `Secure`, and browsers remember to use HTTPS."""
    with AnotherApi(stack, tmp_path, DROPZONE_TRUSTED_PROXIES="127.0.0.0/8") as api:
        headers = {"x-api-key": api.key, "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1"}

        response = httpx.post(f"{api.url}/session", headers=headers)

        cookie = response.headers["set-cookie"]
        assert cookie.startswith("__Host-dropzone_session_")
        assert "; Secure" in cookie
        assert response.headers["strict-transport-security"] == "max-age=31536000"
        plain = httpx.post(f"{api.url}/session", headers={"x-api-key": api.key})
        assert "; Secure" not in plain.headers["set-cookie"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/samples", "OPTIONS, POST"),
        ("/samples/unknown", "DELETE, GET, HEAD"),
        ("/session", "DELETE, GET, HEAD, POST"),
        ("/results", "GET, HEAD"),
        ("/assets/missing", "GET, HEAD"),
    ],
)
def test_a_refused_method_is_told_every_supported_method(stack: Stack, path: str, allowed: str) -> None:
    """Several routes can have the same path."""
    response = httpx.put(stack.url + path)

    assert response.status_code == 405
    assert response.headers["allow"] == allowed
    assert f"{path} does not support PUT; use {allowed}" in response.text


def test_no_redirect_follows_the_host_header(stack: Stack) -> None:
    """A path with a slash at its end does not exist."""
    assert stack.get("/healthz/", host="other.example").status_code == 404

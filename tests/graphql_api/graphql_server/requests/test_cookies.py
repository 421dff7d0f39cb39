"""The cookies of a request: only those of this server are read."""

import pytest

from graphql_api.graphql_server.requests.request_headers import cookie


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("a=1", "1"),
        ("b=2; a=1", "1"),
        ("b=2;a=1 ; c=3", "1"),
        ("aa=2; a=1", "1"),
        ("a=x=y==", "x=y=="),
        ('b="; a=2"; a=1', '2"'),
        ("a=", ""),
        ("b=a=1", ""),
        ("a", ""),
        ("", ""),
        (";" * 30_000 + " a=1", "1"),
        ('b="' + '\\"' * 15_000 + '"; a=1', "1"),
        ("a.b=1", ""),
    ],
)
def test_a_cookie_has_its_value(header: str, value: str) -> None:
    """Quotes and escapes have no meaning, as in browsers (RFC 6265, section 5.2)."""
    scope = {"type": "http", "headers": [(b"cookie", header.encode())]}

    assert cookie(scope, "a") == value
    assert cookie({"type": "http", "headers": []}, "a") == ""


def test_a_name_is_compared_literally() -> None:
    """A name can contain characters with a meaning in patterns."""
    assert cookie({"type": "http", "headers": [(b"cookie", b"axb=1; a.b=2")]}, "a.b") == "2"

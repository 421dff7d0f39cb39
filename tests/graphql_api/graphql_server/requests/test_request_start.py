"""The key in the start of a request, which is read before the request is parsed."""

import pytest

from graphql_api.graphql_server.requests.request_headers import key_in

MANY = 100_000


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (b"x-api-key:a", "a"),
        (b"X-API-Key: \ta\t ", "a"),
        (b"authorization: Bearer a.b-c", "a.b-c"),
        (b"x-api-key: a\r\nx-api-key: b", "a"),
        (b"x-api-key:", None),
        (b"x-api-key: a b", None),
        (b"x-api-key: \xff", None),
        (b"x-other: a", None),
    ],
)
def test_the_start_of_a_request_contains_its_key(header: bytes, key: str | None) -> None:
    """Names of headers have upper-case or lower-case letters."""
    assert key_in(b"GET / HTTP/1.1\r\n%b\r\n\r\n" % header) == key


@pytest.mark.parametrize(
    "header",
    [
        b"x-api-key:" + b" " * MANY,
        b"authorization: bearer " + b" " * MANY,
        b"authorization:" + b"\t" * MANY,
        b"x-api-key: " + b"a" * MANY + b" " * MANY,
        b"x-api-key: a\x00\r\n" * (MANY // 10),
    ],
)
def test_reading_the_key_does_not_take_many_attempts(header: bytes) -> None:
    """Anyone can send such a start. Trying each division of the spaces, this would take days."""
    assert key_in(b"GET / HTTP/1.1\r\n" + header) is None

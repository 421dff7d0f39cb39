"""Errors as clients see them, and as the log has them."""

import logging
import socket

import pytest

from graphql_api.client_text import shorten
from tests.graphql_api.graphql_server.service import Service
from tests.stack import PATIENCE_SECONDS

SECRETS = ("secret", "Traceback", "RuntimeError", "ValueError")


@pytest.mark.parametrize("query", ["{ broken }", "{ hello broken }", "{ surrogate }"])
def test_unexpected_errors_are_masked(service: Service, caplog: pytest.LogCaptureFixture, query: str) -> None:
    """The client gets an id, and the log entry of the error has the same id."""
    response = service.post(query)

    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert not any(secret in response.text for secret in SECRETS)
    (record,) = [record for record in caplog.records if record.name == "graphql_api"]
    assert error["extensions"]["id"] in record.getMessage()
    assert "Traceback" in record.__dict__["exception"]


def test_expected_errors_are_shown_with_their_path(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """They are not logged."""
    response = service.post("{ hello gone: missing }")

    assert response.json() == {
        "data": {"hello": "hello you", "gone": None},
        "errors": [
            {
                "message": "the sample does not exist",
                "extensions": {"code": "NOT_FOUND"},
                "locations": [{"line": 1, "column": 9}],
                "path": ["gone"],
            }
        ],
    }
    assert not caplog.records


@pytest.mark.parametrize(
    ("query", "variables", "part"),
    [
        (
            "query($n: String!) { hello(name: $n) }",
            {"n": 17},
            "Variable '$n' has invalid value: String cannot represent",
        ),
        ("{ hello(name: 17) }", None, "String cannot represent a non string value: 17"),
        ("{ helo }", None, "Cannot query field 'helo' on type 'Query'."),
    ],
)
def test_input_errors_name_the_field(service: Service, query: str, variables: object, part: str) -> None:
    """They suggest no other names: introspection lists those."""
    message = service.post(query, variables).json()["errors"][0]["message"]

    assert part in message
    assert "Did you mean" not in message


@pytest.mark.parametrize(
    ("query", "variables"),
    [("query($v: Picky!) { picky(value: $v) }", {"v": 1}), ("{ picky(value: 1) }", None)],
)
def test_the_text_of_an_exception_in_a_scalar_is_not_shown(service: Service, query: str, variables: object) -> None:
    """The message names the type of the value."""
    response = service.post(query, variables)

    assert "Expected value of type 'Picky" in response.json()["errors"][0]["message"]
    assert response.json()["errors"][0]["extensions"]["code"] in ("BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED")
    assert not any(secret in response.text for secret in SECRETS)


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query($n: Int!) { text(length: $n) }", {"n": "x" * 500_000}),
        ("query($n: Int!) { text(length: $n) }", {"n": ["😀" * 1_000] * 100}),
        ("query($n: Int!) { text(length: $n) }", {"n": {"\u0001" * 1_000: 1}}),
        ('{ text(length: "' + "x" * 60_000 + '") }', None),
        ("{ text(length: $" + "x" * 60_000 + ") }", None),
        ("{ hello } " + "x" * 60_000, None),
    ],
)
def test_echoed_values_are_shortened(service: Service, query: str, variables: object) -> None:
    """The response to a long request is short."""
    assert len(service.post(query, variables).content) < 1024


def test_one_request_makes_one_short_log_entry(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Even if many fields fail with long messages."""
    aliases = " ".join(f"a{n}: longBroken" for n in range(300))

    response = service.post("{" + aliases + "}")

    (record,) = [record for record in caplog.records if record.name == "graphql_api"]
    assert len(record.getMessage()) < 10_000
    assert len(response.json()["errors"]) == 101
    assert len(response.content) < 50_000


def test_invalid_requests_are_not_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A client cannot fill the log with invalid requests."""
    caplog.set_level(logging.INFO)
    for body in (b"", b"{", b"[]", b'{"query": "{"}', b'{"query": "{x}"}'):
        service.raw(body)
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")

    assert [record for record in caplog.records if record.name.startswith(("graphql_api", "uvicorn"))] == []


@pytest.mark.parametrize("text", ["", "short", "x" * 240, "é" * 120])
def test_shorten_returns_short_texts_unchanged(text: str) -> None:
    """A short text has up to 240 bytes."""
    assert shorten(text) == text


@pytest.mark.parametrize("text", ["x" * 241, "é" * 121, "😀" * 10_000, "\ud800" * 300, "a\n\x00b" * 300])
def test_shorten_cuts_long_texts(text: str) -> None:
    """The result has one line, whole characters and at most 240 bytes."""
    shortened = shorten(text)

    assert len(shortened.encode()) <= 240
    assert shortened.endswith("…")
    assert shortened.isprintable()

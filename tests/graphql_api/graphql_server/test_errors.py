"""What clients see of errors, and what the log does."""

import logging
import socket

import pytest

from graphql_api.errors import shorten
from tests.graphql_api.graphql_server.service import Service

SECRETS = ("secret", "Traceback", "RuntimeError", "ValueError")


@pytest.mark.parametrize("query", ["{ broken }", "{ hello broken }", "{ surrogate }"])
def test_unexpected_errors_are_masked(service: Service, caplog: pytest.LogCaptureFixture, query: str) -> None:
    """The client has an id to report, and the log has the error under it."""
    response = service.post(query)

    (error,) = response.json()["errors"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert not any(secret in response.text for secret in SECRETS)
    (record,) = [record for record in caplog.records if record.name == "graphql_api"]
    assert error["extensions"]["id"] in record.getMessage()
    assert "Traceback" in record.getMessage()


def test_errors_on_purpose_are_shown_with_their_path(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """They are not worth a log entry."""
    response = service.post("{ hello gone: missing }")

    assert response.json() == {
        "data": {"hello": "hello you", "gone": None},
        "errors": [
            {
                "message": "There is no such sample.",
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
def test_what_is_wrong_with_the_input_is_shown(service: Service, query: str, variables: object, part: str) -> None:
    """Users can see which field it was; what else there is in the schema is for introspection to tell."""
    message = service.post(query, variables).json()["errors"][0]["message"]

    assert part in message
    assert "Did you mean" not in message


@pytest.mark.parametrize(
    ("query", "variables"),
    [("query($v: Picky!) { picky(value: $v) }", {"v": 1}), ("{ picky(value: 1) }", None)],
)
def test_the_text_of_an_exception_in_a_scalar_is_not_shown(service: Service, query: str, variables: object) -> None:
    """Which value it was is shown."""
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
def test_values_that_are_echoed_are_cut(service: Service, query: str, variables: object) -> None:
    """The answer to a long request is short."""
    assert len(service.post(query, variables).content) < 1024


def test_one_request_makes_one_short_log_entry(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """However many of its fields fail, and however long their messages are."""
    aliases = " ".join(f"a{n}: longBroken" for n in range(300))

    response = service.post("{" + aliases + "}")

    (record,) = [record for record in caplog.records if record.name == "graphql_api"]
    assert len(record.getMessage()) < 10_000
    assert len(response.json()["errors"]) == 101
    assert len(response.content) < 50_000


def test_a_request_that_is_only_wrong_is_not_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can fill the log by sending nonsense."""
    caplog.set_level(logging.INFO)
    for body in (b"", b"{", b"[]", b'{"query": "{"}', b'{"query": "{x}"}'):
        service.raw(body)
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")

    assert [record for record in caplog.records if record.name.startswith(("graphql_api", "uvicorn"))] == []


@pytest.mark.parametrize("text", ["", "short", "x" * 240, "é" * 120])
def test_short_texts_stay_as_they_are(text: str) -> None:
    """Up to 240 bytes."""
    assert shorten(text) == text


@pytest.mark.parametrize("text", ["x" * 241, "é" * 121, "😀" * 10_000, "\ud800" * 300, "a\n\x00b" * 300])
def test_long_texts_are_cut_to_what_can_be_sent(text: str) -> None:
    """On one line, in whole characters, within 240 bytes."""
    cut = shorten(text)

    assert len(cut.encode()) <= 240
    assert cut.endswith("…")
    assert cut.isprintable()

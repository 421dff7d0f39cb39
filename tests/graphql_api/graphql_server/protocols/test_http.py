"""GraphQL over HTTP: statuses, media types, methods and credentials."""

import socket

import pytest

from graphql_api.graphql_server import GraphQLSettings
from storage.documents.errors import Unavailable
from tests.graphql_api.graphql_server.service import GRAPHQL_RESPONSE, KEY, OTHER_KEY, Service, error_of, running
from tests.stack import PATIENCE_SECONDS, eventually

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_every_request_without_a_valid_key_is_unauthenticated(
    service: Service, method: str, headers: dict[str, str]
) -> None:
    """Even if it has other errors: a client without a key learns nothing else."""
    response = service.anonymous.request(method, "/graphql", content=b"{", headers=headers)

    assert error_of(response) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_the_key_is_checked_before_the_body_is_read(service: Service) -> None:
    """A client without a key cannot make the server wait for a body."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(
            b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50000000\r\n\r\n"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("header", ["bearer {}", "Bearer {}", "BEARER  {}"])
def test_a_bearer_token_is_a_credential(service: Service, header: str) -> None:
    """It is equivalent to `x-api-key`."""
    headers = {"authorization": header.format(OTHER_KEY)}

    response = service.anonymous.post("/graphql", json={"query": "{hello}"}, headers=headers)

    assert response.json() == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize(
    "headers",
    [
        [("x-api-key", KEY), ("authorization", f"Bearer {OTHER_KEY}")],
        [("authorization", f"Bearer {OTHER_KEY}"), ("x-api-key", KEY)],
        [("x-api-key", KEY), ("x-api-key", OTHER_KEY)],
        [("x-api-key", ""), ("authorization", f"Bearer {KEY}")],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {OTHER_KEY}")],
    ],
)
def test_two_different_credentials_are_refused(service: Service, headers: list[tuple[str, str]]) -> None:
    """Neither of them wins silently."""
    response = service.anonymous.post("/graphql", json={"query": "{hello}"}, headers=headers)

    assert error_of(response) == (401, "UNAUTHENTICATED")
    assert "send one" in response.json()["errors"][0]["message"]


def test_a_repeated_credential_counts_as_one(service: Service) -> None:
    """The login of a proxy is not a credential of Dropzone."""
    headers = [("x-api-key", KEY), ("authorization", f"Bearer {KEY}"), ("authorization", "Basic YTpi")]

    response = service.anonymous.post("/graphql", json={"query": "{hello}"}, headers=headers)

    assert response.json() == {"data": {"hello": "hello you"}}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json; charset=utf-8"),
        ("application/*", "application/json; charset=utf-8"),
        ("application/json", "application/json; charset=utf-8"),
        (GRAPHQL_RESPONSE, f"{GRAPHQL_RESPONSE}; charset=utf-8"),
        (f"application/json, {GRAPHQL_RESPONSE}", f"{GRAPHQL_RESPONSE}; charset=utf-8"),
        (f"application/json, {GRAPHQL_RESPONSE};q=0.9", "application/json; charset=utf-8"),
        (f"{GRAPHQL_RESPONSE};q=0, */*", "application/json; charset=utf-8"),
        ("application/json;q=0, */*", f"{GRAPHQL_RESPONSE}; charset=utf-8"),
        (f"text/html, {GRAPHQL_RESPONSE};charset=utf-8;q=0.5", f"{GRAPHQL_RESPONSE}; charset=utf-8"),
    ],
)
def test_the_response_has_the_preferred_media_type(service: Service, accept: str, expected: str) -> None:
    """Clients from before and after application/graphql-response+json are served."""
    response = service.post("{hello}", accept=accept)

    assert (response.status_code, response.headers["content-type"]) == (200, expected)


@pytest.mark.parametrize("header", ["accept", "content-type"])
def test_a_long_header_of_media_types_is_refused(service: Service, header: str) -> None:
    """Thousands of media types would take 78 ms to read, and 5 MB in the cache."""
    response = service.client.post("/graphql", content=b"{}", headers={header: "a,a" * 1_000})

    assert error_of(response) == (400, "BAD_REQUEST")
    assert "1,024 bytes" in response.text


@pytest.mark.parametrize("accept", ["image/png", "application/xml, text/plain", "application/json;q=0"])
def test_a_request_without_an_acceptable_media_type_is_not_executed(service: Service, accept: str) -> None:
    """A mutation is refused before it changes data."""
    response = service.post("mutation($s: RawSample!) { submit(sample: $s) }", {"s": 1}, accept=accept)

    assert error_of(response) == (406, "NOT_ACCEPTABLE")
    assert service.state.submitted == []


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("{ unknown }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: String!) { hello(name: $n) }", {"n": 1}, "BAD_USER_INPUT"),
        ("query($n: String!) { hello(name: $n) }", {}, "BAD_USER_INPUT"),
        ("query A { hello } query B { hello }", None, "BAD_REQUEST"),
    ],
)
def test_an_operation_that_cannot_be_executed_has_no_data(
    service: Service, query: str, variables: object, code: str
) -> None:
    """The status is 400, but 200 for clients that accept only `application/json`: they read the body."""
    modern = service.post(query, variables)
    legacy = service.post(query, variables, accept="application/json")

    assert error_of(modern) == (400, code)
    assert error_of(legacy) == (200, code)
    assert "data" not in modern.json()


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        FORM,
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/graphql",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
    ],
)
def test_only_json_bodies_in_utf_8_are_accepted(service: Service, content_type: str | None) -> None:
    """A page of another origin could send the others without a preflight request."""
    body = b'{"query": "mutation($s: RawSample!) { submit(sample: $s) }", "variables": {"s": 1}}'
    headers = {} if content_type is None else {"content-type": content_type}
    response = service.client.post("/graphql", content=body, headers=headers)

    assert error_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert service.state.submitted == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;Charset="UTF-8"'])
def test_the_content_type_is_case_insensitive(service: Service, content_type: str) -> None:
    """So are the names and values of its parameters."""
    assert service.raw(b'{"query": "{hello}"}', **{"content-type": content_type}).status_code == 200


def test_a_url_can_hold_a_query(service: Service) -> None:
    """Its variables and extensions are JSON."""
    parameters = {"query": "query A($n: String!) { hello(name: $n) }", "variables": '{"n": "é"}', "operationName": "A"}

    assert service.client.get("/graphql", params=parameters).json() == {"data": {"hello": "hello é"}}


@pytest.mark.parametrize(("variables", "name"), [("null", "world"), ('\n {"n": "you"}\n', "you")])
def test_variables_in_a_url_are_read_as_in_a_body(service: Service, variables: str, name: str) -> None:
    """They can be null, or have whitespace around them."""
    parameters = {"query": 'query($n: String = "world") { hello(name: $n) }', "variables": variables}

    assert service.client.get("/graphql", params=parameters).json() == {"data": {"hello": f"hello {name}"}}


@pytest.mark.parametrize(
    "query_string",
    [
        "",
        "query=%ED%A0%80",
        "query={hello}&query={hello}",
        "query={hello}&variables=[]",
        "query={hello}&variables={",
        "query={hello}&extensions=1",
        "query=" + "&a=" * 1000,
    ],
)
def test_a_url_without_a_valid_request_is_a_bad_request(service: Service, query_string: str) -> None:
    """The status is never 500."""
    assert error_of(service.client.get(f"/graphql?{query_string}")) == (400, "BAD_REQUEST")


def test_a_mutation_cannot_be_sent_by_get(service: Service) -> None:
    """Following a link must not change data."""
    parameters = {"query": "mutation($s: RawSample!) { submit(sample: $s) }", "variables": '{"s": 1}'}
    response = service.client.get("/graphql", params=parameters)

    assert error_of(response) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"
    assert service.state.submitted == []


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "HEAD", "DELETE", "PUT"])
def test_other_methods_are_not_allowed(service: Service, method: str) -> None:
    """The response lists those that are."""
    response = service.client.request(method, "/graphql")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


def test_a_browser_gets_the_page_without_a_key(service: Service) -> None:
    """The page prompts for the key. A browser that sends a query gets JSON."""
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

    assert "GraphiQL" in service.anonymous.get("/graphql", headers=browser).text
    assert service.client.get("/graphql?query={hello}", headers=browser).json() == {"data": {"hello": "hello you"}}


def test_unavailable_is_a_503_if_no_field_succeeded(service: Service) -> None:
    """The response says when to retry."""
    response = service.post("{ down }")

    assert error_of(response) == (503, "UNAVAILABLE")
    assert response.headers["retry-after"] == "7"
    assert response.json()["errors"][0]["extensions"]["retryAfter"] == 7


def test_unavailable_is_a_field_error_if_another_field_succeeded(service: Service) -> None:
    """The response keeps the data of the other field."""
    response = service.post("{ hello down }")

    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello you", "down": None}
    assert response.json()["errors"][0]["path"] == ["down"]


def test_a_key_that_cannot_be_checked_is_a_503(service: Service) -> None:
    """The client can retry with the same key."""
    service.state.authentication_error = Unavailable("Firestore does not respond", retry_after=3)
    response = service.post("{ hello }")

    assert error_of(response) == (503, "UNAVAILABLE")
    assert response.headers["retry-after"] == "3"


def test_an_unexpected_failure_of_the_check_is_masked(service: Service) -> None:
    """Like every unexpected error."""
    service.state.authentication_error = RuntimeError("a secret of the store")
    response = service.post("{ hello }")

    assert error_of(response) == (500, "INTERNAL")
    assert "secret" not in response.text


def test_an_operation_that_takes_too_long_is_cancelled() -> None:
    """The status tells the client to retry."""
    with running(GraphQLSettings(execution_timeout_seconds=0.2)) as service:
        response = service.post("{ slow(seconds: 60) }")

    assert error_of(response) == (503, "UNAVAILABLE")


def test_a_subscription_needs_an_event_stream(service: Service) -> None:
    """A single response cannot carry it."""
    assert error_of(service.post("subscription { count(to: 1) }")) == (406, "NOT_ACCEPTABLE")


def test_the_document_of_a_client_that_has_gone_is_not_read(service: Service) -> None:
    """500 documents can wait, and reading them would take half a minute."""
    budget = service.budgets.submitter(KEY).heavy_cost
    body = b'{"query": "{ unread: hello }"}'
    head = b"POST /graphql HTTP/1.1\r\nhost: x\r\nx-api-key: %b\r\ncontent-type: application/json\r\n" % KEY.encode()
    budget.used += budget.max_amount
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_SECONDS) as client:
            client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            eventually(lambda: budget.waiting == 1)

        eventually(lambda: budget.waiting == 0)
    finally:
        budget.used -= budget.max_amount

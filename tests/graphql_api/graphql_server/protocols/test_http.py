"""GraphQL over HTTP: statuses, media types, methods, and who may ask."""

import socket

import pytest

from graphql_api.graphql_server import GraphQLSettings
from storage.documents.errors import Unavailable
from tests.graphql_api.graphql_server.service import GRAPHQL_RESPONSE, OTHER_KEY, Service, error_of, running

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_without_a_good_key_every_request_is_unauthenticated(
    service: Service, method: str, headers: dict[str, str]
) -> None:
    """Whatever else is wrong with it: nobody without a key learns more."""
    response = service.anonymous.request(method, "/graphql", content=b"{", headers=headers)

    assert error_of(response) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_the_key_is_checked_before_the_body_is_read(service: Service) -> None:
    """A stranger cannot make the server wait for a body."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as stranger:
        stranger.sendall(
            b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50000000\r\n\r\n"
        )
        assert stranger.recv(1000).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("header", ["bearer {}", "Bearer {}", "BEARER  {}"])
def test_a_bearer_token_is_a_key(service: Service, header: str) -> None:
    """`x-api-key` is not the only way."""
    headers = {"authorization": header.format(OTHER_KEY)}

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
        (f"text/html, {GRAPHQL_RESPONSE};charset=utf-8;q=0.5", f"{GRAPHQL_RESPONSE}; charset=utf-8"),
    ],
)
def test_the_answer_has_the_media_type_that_is_preferred(service: Service, accept: str, expected: str) -> None:
    """Clients of both generations are served."""
    response = service.post("{hello}", accept=accept)

    assert (response.status_code, response.headers["content-type"]) == (200, expected)


@pytest.mark.parametrize("accept", ["image/png", "application/xml, text/plain", "application/json;q=0"])
def test_what_cannot_be_answered_acceptably_is_not_done(service: Service, accept: str) -> None:
    """A mutation is refused before it changes anything."""
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
    """It is a 400, except for clients that know `application/json` alone: they look into the body."""
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
def test_only_json_bodies_in_utf_8_are_read(service: Service, content_type: str | None) -> None:
    """A page of another origin could send the others without asking first."""
    body = b'{"query": "mutation($s: RawSample!) { submit(sample: $s) }", "variables": {"s": 1}}'
    headers = {} if content_type is None else {"content-type": content_type}
    response = service.client.post("/graphql", content=body, headers=headers)

    assert error_of(response) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert service.state.submitted == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;Charset="UTF-8"'])
def test_json_is_recognised_in_every_spelling(service: Service, content_type: str) -> None:
    """Media types and charsets do not depend on case."""
    assert service.raw(b'{"query": "{hello}"}', **{"content-type": content_type}).status_code == 200


def test_a_query_may_come_in_the_url(service: Service) -> None:
    """Variables and extensions are JSON texts there."""
    parameters = {"query": "query A($n: String!) { hello(name: $n) }", "variables": '{"n": "é"}', "operationName": "A"}

    assert service.client.get("/graphql", params=parameters).json() == {"data": {"hello": "hello é"}}


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
def test_a_url_that_is_no_request_is_a_bad_request(service: Service, query_string: str) -> None:
    """Never a 500."""
    assert error_of(service.client.get(f"/graphql?{query_string}")) == (400, "BAD_REQUEST")


def test_a_mutation_cannot_be_asked_for_by_get(service: Service) -> None:
    """Following a link must not change anything."""
    parameters = {"query": "mutation($s: RawSample!) { submit(sample: $s) }", "variables": '{"s": 1}'}
    response = service.client.get("/graphql", params=parameters)

    assert error_of(response) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"
    assert service.state.submitted == []


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "HEAD", "DELETE"])
def test_other_methods_are_not_allowed(service: Service, method: str) -> None:
    """The answer says which are."""
    response = service.client.request(method, "/graphql")

    assert response.status_code == 405
    assert "POST" in response.headers["allow"]


def test_a_browser_gets_the_page_without_a_key(service: Service) -> None:
    """The page asks for the key itself; a browser that sends a query gets JSON."""
    browser = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

    assert "GraphiQL" in service.anonymous.get("/graphql", headers=browser).text
    assert service.client.get("/graphql?query={hello}", headers=browser).json() == {"data": {"hello": "hello you"}}


def test_unavailable_is_a_503_when_nothing_succeeded(service: Service) -> None:
    """Balancers and clients know when to come back."""
    response = service.post("{ down }")

    assert error_of(response) == (503, "UNAVAILABLE")
    assert response.headers["retry-after"] == "7"
    assert response.json()["errors"][0]["extensions"]["retryAfter"] == 7


def test_unavailable_is_one_error_among_data_when_something_succeeded(service: Service) -> None:
    """What was done is not thrown away."""
    response = service.post("{ hello down }")

    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello you", "down": None}
    assert response.json()["errors"][0]["path"] == ["down"]


def test_a_key_that_cannot_be_checked_is_a_503(service: Service) -> None:
    """It is not the client's fault, and later will do."""
    service.state.authentication_error = Unavailable("Firestore does not answer.", retry_after=3)
    response = service.post("{ hello }")

    assert error_of(response) == (503, "UNAVAILABLE")
    assert response.headers["retry-after"] == "3"


def test_an_unexpected_failure_of_the_check_is_masked(service: Service) -> None:
    """As everywhere."""
    service.state.authentication_error = RuntimeError("a secret of the store")
    response = service.post("{ hello }")

    assert error_of(response) == (500, "INTERNAL")
    assert "secret" not in response.text


def test_what_takes_too_long_is_given_up() -> None:
    """The client is told to come back, within the time limit."""
    with running(GraphQLSettings(execution_timeout_seconds=0.2)) as service:
        response = service.post("{ slow(seconds: 60) }")

    assert error_of(response) == (503, "UNAVAILABLE")


def test_a_subscription_needs_a_stream(service: Service) -> None:
    """It cannot be answered once."""
    assert error_of(service.post("subscription { count(to: 1) }")) == (406, "NOT_ACCEPTABLE")

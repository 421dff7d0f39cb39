"""The number of query parameters is limited before they are parsed."""

import socket

import httpx
import pytest
from starlette.requests import Request

from graphql_api.endpoints.query_parameters import query_parameters
from storage.documents import BadRequest
from tests.stack import Stack


def request_with(query_string: bytes) -> Request:
    """Return a request with these query parameters."""
    return Request({"type": "http", "query_string": query_string})


@pytest.mark.parametrize(("query_string", "expected"), [(b"", {}), (b"a=1&b=%202", {"a": "1", "b": " 2"})])
def test_a_few_parameters_are_parsed(query_string: bytes, expected: dict[str, str]) -> None:
    """Escapes are decoded."""
    assert dict(query_parameters(request_with(query_string))) == expected


def test_many_parameters_are_refused() -> None:
    """Parsing thousands of them would delay other clients."""
    with pytest.raises(BadRequest, match="expected at most 20 parameters, got 5,000"):
        query_parameters(request_with(b"&".join([b"a=%41"] * 5_000)))


@pytest.mark.parametrize("query_string", [b"label.site=z%FCrich", b"label.site=z\xfcrich"])
def test_parameters_in_another_encoding_are_refused(query_string: bytes) -> None:
    """Another label would be selected, and the response would be empty."""
    with pytest.raises(BadRequest, match="expected query parameters in UTF-8"):
        query_parameters(request_with(query_string))


@pytest.mark.parametrize("query_string", [b"label.site=z%C3%BCrich", "label.site=zürich".encode()])
def test_parameters_are_read_as_utf_8(query_string: bytes) -> None:
    """With or without escapes."""
    assert dict(query_parameters(request_with(query_string))) == {"label.site": "zürich"}


def test_a_url_that_is_not_ascii_is_refused_with_what_to_do(stack: Stack) -> None:
    """HTTP does not allow it. `curl` sends it."""
    with socket.create_connection(("127.0.0.1", stack.api_port)) as client:
        client.sendall("GET /results?label.site=zürich HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        response = client.recv(4096)

    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"In a URL, use %XX for characters other than ASCII." in response


def test_endpoints_refuse_many_parameters(stack: Stack) -> None:
    """A deletion counts them before it checks their names."""
    many = "&".join(["a=%41"] * 4_000)

    deletion = httpx.delete(f"{stack.url}/samples/unknown?{many}", headers={"x-api-key": stack.key})

    assert [deletion.status_code, stack.get(f"/results?{many}").status_code] == [400, 400]


@pytest.mark.parametrize("query", ["Reason=wrong", "reason=a&reason=b", "reason=a&force=1"])
def test_a_deletion_with_another_parameter_than_its_reason_is_refused(stack: Stack, query: str) -> None:
    """A deleted sample cannot get its reason later."""
    with httpx.Client(base_url=stack.url, headers={"x-api-key": stack.key}, timeout=30) as client:
        path = stack.post_sample(b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}').headers["location"]

        refused = client.delete(f"{path}?{query}")

        assert refused.status_code == 400
        assert "`reason`" in refused.json()["error"]["message"]
        assert client.get(path).status_code == 200

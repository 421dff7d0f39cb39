"""The number of query parameters is limited before they are parsed."""

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


def test_endpoints_refuse_many_parameters(stack: Stack) -> None:
    """A deletion ignores parameters that it does not know, but not thousands of them."""
    many = "&".join(["a=%41"] * 4_000)

    deletion = httpx.delete(f"{stack.url}/samples/unknown?{many}", headers={"x-api-key": stack.key})

    assert [deletion.status_code, stack.get(f"/results?{many}").status_code] == [400, 400]

"""`WWW-Authenticate` names the scope that a client must request, by the name that it has at the provider."""

from collections.abc import Iterator

import httpx
import pytest

from graphql_api.configuration.identity_providers import parse_scopes
from graphql_api.credential_errors import FOR_KEYS, Challenges, InvalidCredential, MissingScope, NoCredential
from storage.documents import BadRequest, Unauthenticated
from tests.another_api import AnotherApi
from tests.stack import Stack

METADATA = 'resource_metadata="https://dropzone.example.org/.well-known/oauth-protected-resource"'
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}


@pytest.fixture(scope="module")
def mapped_stack(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API whose provider has other names for scopes. No test asks the provider."""
    settings = {
        "DROPZONE_PUBLIC_URL": "https://dropzone.example.org",
        "DROPZONE_OIDC_ISSUERS": "https://id.example.org",
        "DROPZONE_OIDC_SCOPES": "submit=dropzone.submit,read=dropzone.read",
    }
    with AnotherApi(stack, tmp_path_factory.mktemp("mapped"), **settings) as api:
        yield api


def test_a_refusal_names_a_scope_that_the_metadata_lists(mapped_stack: Stack) -> None:
    """Without a credential, with an unknown one, and with one that lacks the scope."""
    url = mapped_stack.url
    unknown, narrow = {"x-api-key": "dz_unknown"}, {"x-api-key": mapped_stack.new_key("read-only", "read")}

    refused = [
        httpx.get(f"{url}/results"),
        httpx.get(f"{url}/samples/1", headers=unknown),
        httpx.post(f"{url}/samples", json=SAMPLE, headers=narrow),
    ]

    assert [(response.status_code, response.headers["www-authenticate"]) for response in refused] == [
        (401, f'Bearer realm="dropzone", scope="dropzone.read", {METADATA}'),
        (401, f'Bearer realm="dropzone", error="invalid_token", scope="dropzone.read", {METADATA}'),
        (403, f'Bearer realm="dropzone", error="insufficient_scope", scope="dropzone.submit", {METADATA}'),
    ]
    supported = httpx.get(f"{url}/.well-known/oauth-protected-resource").json()["scopes_supported"]
    assert supported == ["dropzone.read", "dropzone.submit"]


def test_graphql_names_no_scope_before_it_has_read_the_operation(mapped_stack: Stack) -> None:
    """It checks the credential first. The scope `read-all` has no name at this provider."""
    key = mapped_stack.new_key("without-all", "read")

    anonymous = httpx.post(f"{mapped_stack.url}/graphql", json={"query": "{ __typename }"})
    other = mapped_stack.url + "/graphql?query={__typename}"
    operator = httpx.get(other, headers={"x-api-key": key, "x-submitter": "local"})

    assert (anonymous.status_code, operator.status_code) == (401, 403)
    assert anonymous.headers["www-authenticate"] == f'Bearer realm="dropzone", {METADATA}'
    assert operator.headers["www-authenticate"] == f'Bearer realm="dropzone", error="insufficient_scope", {METADATA}'


def test_without_a_provider_a_refusal_names_the_scope_of_a_key(stack: Stack) -> None:
    """As in `keys create --scopes`. The challenge names no metadata."""
    response = httpx.get(f"{stack.url}/results")

    assert response.headers["www-authenticate"] == 'Bearer realm="dropzone", scope="read"'


def test_only_errors_that_another_credential_prevents_have_a_challenge() -> None:
    """The scope is left out if it is not known."""
    challenges = Challenges(scope_names={"read": "samples:read"}, metadata_url="https://x")

    assert challenges.of(BadRequest("no JSON")) is None
    assert challenges.of(Unauthenticated("two keys")) == 'Bearer realm="dropzone", resource_metadata="https://x"'
    assert FOR_KEYS.of(NoCredential("no key")) == 'Bearer realm="dropzone"'
    assert FOR_KEYS.of(InvalidCredential("unknown")) == 'Bearer realm="dropzone", error="invalid_token"'
    assert FOR_KEYS.of(MissingScope("no", scope="admin")) == (
        'Bearer realm="dropzone", error="insufficient_scope", scope="admin"'
    )


@pytest.mark.parametrize("name", ['a"b', "a b", "a\\b", "é"])
def test_a_name_that_no_header_can_hold_is_refused(name: str) -> None:
    """RFC 6749 excludes these characters from scopes."""
    with pytest.raises(ValueError, match="ASCII characters without spaces, quotes and backslashes"):
        parse_scopes(f"read={name}")

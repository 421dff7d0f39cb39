"""Access tokens of a certified provider, over every protocol."""

import asyncio
import json
import re
import time
from pathlib import Path

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from graphql_api.auth.oauth import provider_metadata
from graphql_api.scopes import Scope
from tests.graphql_api.auth.test_credential_kinds import SCOPE_SETS, opened_and_expected
from tests.identity_provider.identity_provider import IdentityProvider
from tests.stack import SUBMIT, Stack, eventually

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 3]}
MUTATION = {"query": SUBMIT, "variables": {"sample": SAMPLE}}
Oidc = tuple[Stack, IdentityProvider]


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"authorization": f"Bearer {token}"}


def test_a_program_submits_and_reads_with_a_token(oidc_stack: Oidc) -> None:
    """Its name at the provider is the submitter. The provider is asked for its keys once."""
    stack, provider = oidc_stack
    headers = bearer(provider.token())

    sample_id = httpx.post(f"{stack.url}/samples", json=SAMPLE, headers=headers).json()["id"]
    read = [httpx.get(f"{stack.url}/samples/{sample_id}", headers=headers) for _ in range(20)]

    assert {response.status_code for response in read} == {200}
    assert httpx.get(f"{stack.url}/session", headers=headers).json()["submitter"] == "station"
    assert httpx.get(f"{stack.url}/samples/{sample_id}", headers={"x-api-key": stack.key}).status_code == 404
    assert provider.requests("/jwks") == 1


def test_refusals_say_what_is_missing(oidc_stack: Oidc) -> None:
    """`WWW-Authenticate` names the error, the scope and the metadata of this API."""
    stack, provider = oidc_stack
    metadata = f'resource_metadata="{stack.url}/.well-known/oauth-protected-resource"'
    headers = bearer(provider.token("read"))

    anonymous = httpx.post(f"{stack.url}/samples", json=SAMPLE)
    wrong = httpx.post(f"{stack.url}/graphql", json=MUTATION, headers=bearer("a.b.c"))
    narrow = httpx.post(f"{stack.url}/samples", json=SAMPLE, headers=headers)

    assert [each.status_code for each in (anonymous, wrong, narrow)] == [401, 401, 403]
    assert [each.headers["www-authenticate"] for each in (anonymous, wrong, narrow)] == [
        f'Bearer realm="dropzone", scope="submit", {metadata}',
        f'Bearer realm="dropzone", error="invalid_token", {metadata}',
        f'Bearer realm="dropzone", error="insufficient_scope", scope="submit", {metadata}',
    ]
    assert httpx.get(f"{stack.url}/.well-known/oauth-protected-resource").json() == {
        "resource": stack.url,
        "authorization_servers": [provider.issuer],
        "scopes_supported": ["admin", "read", "read-all", "submit"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Dropzone",
        "dropzone_client_id": "dropzone",
    }


def test_a_program_requests_the_scope_that_a_refusal_names(oidc_stack: Oidc, tmp_path: Path) -> None:
    """It knows nothing else of the scopes. The provider has other names for them than the API."""
    provider = oidc_stack[1]
    settings = {
        "DROPZONE_PUBLIC_URL": oidc_stack[0].url,  # the audience of this provider's tokens
        "DROPZONE_OIDC_ISSUERS": provider.issuer,
        "DROPZONE_OIDC_SCOPES": "submit=dropzone.submit,read=dropzone.read",
    }
    named = []
    headers: dict[str, str] = {}
    with Stack(tmp_path, **settings) as stack:
        for method, path, status in (("GET", "/results", 401), ("POST", "/samples", 403)):
            refused = httpx.request(method, stack.url + path, json=SAMPLE, headers=headers)
            assert refused.status_code == status
            found = re.search(r' scope="([^"]*)"', refused.headers["www-authenticate"])
            assert found
            named.append(found[1])
            headers = bearer(provider.token(found[1]))
            accepted = httpx.request(method, stack.url + path, json=SAMPLE, headers=headers)
            assert accepted.is_success, accepted.text

    assert named == ["dropzone.read", "dropzone.submit"]


def test_a_stack_without_a_provider_accepts_no_tokens(stack: Stack) -> None:
    """It has no metadata, and its challenge names none."""
    response = httpx.get(f"{stack.url}/results", headers=bearer("a.b.c"))

    assert response.headers["www-authenticate"] == 'Bearer realm="dropzone", error="invalid_token", scope="read"'
    assert httpx.get(f"{stack.url}/.well-known/oauth-protected-resource").status_code == 404


async def test_streams_end_when_their_token_expires(oidc_stack: Oidc) -> None:
    """An event stream ends with the error, a WebSocket with the code 4403. Clients connect again with a new token.

    The audit log of the submitter says that the token was refused.
    """
    stack, provider = oidc_stack
    token = await asyncio.to_thread(provider.token, "read", "brief")
    query = {"query": "subscription { results { cursor } }"}

    async def event_stream() -> str:
        headers = bearer(token) | {"accept": "text/event-stream"}
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.post(f"{stack.url}/graphql", json=query, headers=headers)).text

    async def websocket() -> int | None:
        url = f"{stack.url.replace('http', 'ws')}/graphql"
        async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": query}))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            return closed.value.rcvd.code if closed.value.rcvd else None

    text, code = await asyncio.gather(event_stream(), websocket())

    assert "UNAUTHENTICATED" in text
    assert text.endswith("event: complete\ndata: \n\n")
    assert code == 4403
    owner = f"issuer {provider.issuer}, subject brief"
    await asyncio.to_thread(eventually, lambda: owner in stack.keys("audit", "--submitter", "brief"), lambda: stack.log)


def test_a_storm_of_unknown_keys_asks_the_provider_once(oidc_stack: Oidc) -> None:
    """Forged tokens are refused, and after a while with 429. Valid tokens that were used before still work."""
    stack, provider = oidc_stack
    headers = bearer(provider.token())
    assert httpx.get(f"{stack.url}/results", headers=headers).status_code == 200
    before = provider.requests("/jwks")
    forger = ECKey.generate_key("P-256")
    now = int(time.time())
    content = {
        "iss": provider.issuer,
        "sub": "station",
        "aud": stack.url,
        "iat": now,
        "exp": now + 600,
        "scope": "read",
    }

    with httpx.Client(base_url=stack.url) as client:
        statuses = {
            client.get(
                "/results",
                headers=bearer(jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": f"k{number}"}, content, forger)),
            ).status_code
            for number in range(100)
        }
        assert statuses <= {401, 429}
        assert client.get("/results", headers=headers).status_code == 200

    assert provider.requests("/jwks") - before <= 1


def test_a_new_key_of_the_provider_is_found(oidc_stack: Oidc) -> None:
    """The API reads the keys again when a token names an unknown key, but waits for the end of the cooldown."""
    stack, provider = oidc_stack
    provider.stop()
    provider.start("second")
    headers = bearer(provider.token())

    assert provider_metadata.COOLDOWN_SECONDS == 30
    eventually(lambda: httpx.get(f"{stack.url}/results", headers=headers).status_code == 200, lambda: stack.log)

    assert provider.requests("/jwks") == 1


@pytest.mark.parametrize("scopes", SCOPE_SETS, ids=lambda scopes: "-".join(sorted(scopes)) or "none")
def test_a_token_opens_exactly_what_its_scopes_open(oidc_stack: Oidc, scopes: frozenset[Scope]) -> None:
    """Every root field and every endpoint."""
    stack, provider = oidc_stack

    opened, expected = opened_and_expected(stack, bearer(provider.token(" ".join(scopes))), scopes)

    assert opened == expected

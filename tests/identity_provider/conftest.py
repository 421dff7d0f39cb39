"""A stack that accepts access tokens of a real provider."""

from collections.abc import Iterator

import pytest

from graphql_api.scopes import Scope
from tests.identity_provider.identity_provider import IdentityProvider, require_npm_packages
from tests.stack import Stack


@pytest.fixture(scope="module")
def oidc_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, IdentityProvider]]:
    """A stack and the provider that it trusts."""
    require_npm_packages()
    stack = Stack(tmp_path_factory.mktemp("oidc"))
    with IdentityProvider(stack.url) as provider:
        stack.environment |= {
            "DROPZONE_PUBLIC_URL": stack.url,
            "DROPZONE_OIDC_ISSUERS": provider.issuer,
            "DROPZONE_OIDC_CLIENT_ID": "dropzone",
            "DROPZONE_OIDC_SCOPES": ",".join(f"{scope}={scope}" for scope in Scope),
        }
        with stack:
            yield stack, provider

"""A user signs in on the pages at a certified provider, in a real browser."""

import base64
import json
import re
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.graphql_api.web.browser import Browser
from tests.graphql_api.web.conftest import built_dashboard, built_graphiql, chrome, dashboard, driver, graphiql
from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.graphiql import GraphiQL
from tests.identity_provider.identity_provider import IdentityProvider
from tests.stack import Stack, eventually

__all__ = ["built_dashboard", "built_graphiql", "chrome", "dashboard", "driver", "graphiql"]

Oidc = tuple[Stack, IdentityProvider]


def test_the_dashboard_signs_in_with_the_provider(oidc_stack: Oidc, dashboard: Dashboard) -> None:
    """The page gets a session, and no token. The user is the submitter."""
    stack, provider = oidc_stack
    dashboard.go_to(stack.url)

    sign_in(dashboard, provider, "user-8")

    dashboard.wait_until_live()
    assert dashboard.address == f"{stack.url}/"
    assert (dashboard.run("return document.cookie"), submitter_of(dashboard)) == ("", "user-8")
    dashboard.press("nav button", "Sign out")
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")


def test_a_link_to_a_view_displays_it_after_the_sign_in(oidc_stack: Oidc, dashboard: Dashboard) -> None:
    """The address contains the view, in any language."""
    stack, provider = oidc_stack
    dashboard.go_to(f"{stack.url}/?last=week&label.site=z%C3%BCrich+s%C3%BCd&mean.gte=1")

    sign_in(dashboard, provider, "user-10")

    dashboard.wait_until_live()
    assert dashboard.address == f"{stack.url}/?last=week&label.site=z%C3%BCrich+s%C3%BCd&mean.gte=1"
    assert dashboard.run("return document.querySelector(arguments[0]).value", "[name='mean.gte']") == "1"


@pytest.mark.parametrize(
    ("page", "returned"),
    [
        ("/?a=%20", "/?a=%20"),
        ("/graphql?a=1", "/graphql?a=1"),
        (f"/?{'a' * 2001}", "/"),
        ("/?\r\nset-cookie: a=b", "/"),
        ("/?\N{LATIN SMALL LETTER E WITH ACUTE}", "/"),
        ("//evil.example?a=1", "/"),
        ("https://evil.example/?a=1", "/"),
        ("/results?format=csv", "/"),
    ],
)
def test_a_sign_in_returns_to_a_page_of_this_server(oidc_stack: Oidc, page: str, returned: str) -> None:
    """The cookie contains the page with its query, if it fits into a cookie and into a header."""
    stack, _ = oidc_stack

    response = httpx.get(f"{stack.url}/session/sign-in", params={"page": page})

    cookie = response.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert json.loads(base64.urlsafe_b64decode(cookie + "=="))[2] == returned
    assert len(response.headers["set-cookie"]) < 4096


def test_graphiql_signs_in_with_the_provider(oidc_stack: Oidc, graphiql: GraphiQL) -> None:
    """The browser returns to GraphiQL, which runs operations of the user. After signing out, it runs none."""
    stack, provider = oidc_stack
    graphiql.go_to(f"{stack.url}/graphql")

    sign_in(graphiql, provider, "user-9")

    graphiql.wait_for(lambda: "Signed in as user-9." in (graphiql.text("form.key") or ""))
    assert graphiql.address == f"{stack.url}/graphql"
    assert (graphiql.run("return document.cookie"), submitter_of(graphiql)) == ("", "user-9")
    graphiql.wait_until_usable()
    graphiql.show_tab("SubmitSample")
    graphiql.play()
    sample_id = graphiql.wait_for_response('"id": "([^"]+)"')[1]
    assert stack.get(f"/samples/{sample_id}").status_code == 404, "the sample belongs to the user"
    graphiql.press("form.key button", "Sign out")
    graphiql.wait_for(lambda: "Enter an API key:" in (graphiql.text("form.key") or ""))
    graphiql.play()
    graphiql.wait_for_response("UNAUTHENTICATED")


def sign_in(page: Browser, provider: IdentityProvider, user: str) -> None:
    """Press the button of the page, and sign in at the provider."""
    page.press("a.provider", f"Sign in with {urlsplit(provider.issuer).netloc}")
    page.wait_for(lambda: page.text("input[name=login]") is not None)
    page.write("input[name=login]", user)
    page.write("input[name=password]", "any")
    page.press("button[type=submit]")
    page.press("button[type=submit]", "Continue")


def submitter_of(page: Browser) -> str:
    """Return the submitter of the session that the browser has."""
    session = page.run_async("fetch('/session').then((response) => response.json()).then(arguments[0])")
    return str(session["submitter"])


def test_the_sign_in_uses_pkce_and_names_this_api(oidc_stack: Oidc) -> None:
    """The verifier stays in a cookie that scripts cannot read, and that is sent to this server only."""
    stack, provider = oidc_stack

    response = httpx.get(f"{stack.url}/session/sign-in?page=https://evil.example")

    address = urlsplit(response.headers["location"])
    sent = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert response.status_code == 303
    assert f"{address.scheme}://{address.netloc}" == provider.issuer
    assert sent["code_challenge_method"] == "S256"
    assert sent["redirect_uri"] == f"{stack.url}/session/callback"
    assert sent["resource"] == stack.url
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert sent["code_challenge"] not in cookie


@pytest.mark.parametrize("query", ["", "state=x&code=y", "error=access_denied"])
@pytest.mark.parametrize("has_cookie", [True, False])
def test_a_callback_that_this_browser_did_not_start_is_refused(oidc_stack: Oidc, query: str, has_cookie: bool) -> None:
    """Otherwise an attacker could sign a user in to the attacker's account. The provider is not asked."""
    stack, provider = oidc_stack
    before = provider.requests("/token")
    with httpx.Client(base_url=stack.url) as browser:
        if has_cookie:
            browser.get("/session/sign-in")
        response = browser.get(f"/session/callback?{query}")

    assert response.headers["location"] == "/#sign-in-failed"
    assert not re.search(r"dropzone_session_\d+=dzs_", response.headers["set-cookie"])
    assert provider.requests("/token") == before


def test_refused_callbacks_are_in_the_log_of_the_operator_once_per_cause(oidc_stack: Oidc) -> None:
    """Anyone can send them, with any text."""
    stack, _ = oidc_stack
    with httpx.Client(base_url=stack.url) as browser:
        browser.get("/session/sign-in")
        cookie = {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    state = json.loads(base64.urlsafe_b64decode(cookie["cookie"].partition("=")[2] + "=="))[0]
    queries = [{"state": "another"}, {"state": state, "error": "access_denied"}]
    queries += [{"state": state, "error": f"flood {number}"} for number in range(30)]

    def is_answered(query: Mapping[str, str]) -> bool:
        """The limit of failed authentications refuses some requests, so each is sent until it is answered."""
        return httpx.get(f"{stack.url}/session/callback", params=query, headers=cookie).status_code == 303

    for query in queries:
        eventually(partial(is_answered, query))

    def reasons() -> list[str]:
        entries = map(json.loads, stack.keys("audit", "--first", "500").splitlines())
        return [each["reason"] for each in entries if each["action"] == "sign_in.refused"]

    expected = {
        "this browser did not start this sign-in; sign in again",
        "the identity provider refused the sign-in: access_denied",
        "the identity provider refused the sign-in: an unknown error",
    }
    eventually(lambda: expected <= set(reasons()))
    assert all(reasons().count(reason) <= 2 for reason in expected)  # twice if midnight is in between


def test_a_stack_without_a_provider_offers_no_sign_in(stack: Stack) -> None:
    """The endpoints do not exist there."""
    assert httpx.get(f"{stack.url}/session/sign-in").status_code == 404
    assert httpx.get(f"{stack.url}/session/callback").status_code == 404
    assert '"provider": null' in httpx.get(stack.url).text

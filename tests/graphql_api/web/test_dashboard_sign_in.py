"""Signing in to the dashboard, in a real browser against the running stack."""

import os
import signal

from tests.graphql_api.web.dashboard import Dashboard
from tests.stack import Stack


def test_a_key_is_exchanged_for_a_session(stack: Stack, dashboard: Dashboard) -> None:
    """The form has the focus. A wrong key is refused. The page keeps no key, and stays signed in after a reload."""
    key = stack.key
    dashboard.go_to(stack.url)
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")
    assert dashboard.run("return document.activeElement.id") == "key"
    assert dashboard.console() == []
    dashboard.write("#key", "wrong")
    dashboard.press(".key button[type=submit]")
    dashboard.wait_for(lambda: dashboard.text(".key .fault") == "The key is unknown, expired or revoked.")
    dashboard.write("#key", "headers cannot contain ✓")
    dashboard.press(".key button[type=submit]")
    assert dashboard.text("h1") == "Sign in again"
    dashboard.run("document.querySelector('#key').value = ''")

    dashboard.write("#key", key)
    dashboard.press(".key button[type=submit]")

    dashboard.wait_until_live()
    dashboard.go_to(stack.url)
    dashboard.wait_until_live()
    kept = dashboard.run(
        "return [document.cookie, JSON.stringify({...localStorage, ...sessionStorage}), document.body.outerHTML]"
    )
    assert kept[0] == ""
    assert key not in "".join(kept)
    dashboard.press("nav button", "Sign out")
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")
    dashboard.go_to(stack.url)
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")


def test_a_sign_in_link_works_once(stack: Stack, dashboard: Dashboard) -> None:
    """The page removes the token from the address. The same link does not sign in a second browser.

    In the first browser, it displays the dashboard: the session of the link has not ended.
    """
    link = stack.keys("sign-in-link", "--file", str(stack.key_file), "--url", stack.url).strip()

    dashboard.go_to(link)
    dashboard.wait_until_live()

    assert dashboard.address == f"{stack.url}/"
    dashboard.go_to("about:blank")
    dashboard.go_to(link)
    dashboard.wait_until_live()
    dashboard.command("Network.clearBrowserCookies")
    dashboard.go_to("about:blank")
    dashboard.go_to(link)
    dashboard.wait_for(lambda: "was used or has expired" in (dashboard.text(".key .fault") or ""))


def test_an_outage_is_not_reported_as_a_wrong_key(own_stack: Stack, dashboard: Dashboard) -> None:
    """The API cannot read a key without Firestore."""
    stack = own_stack
    key = stack.new_key("sign-in-without-firestore")
    dashboard.go_to(stack.url)
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")
    os.kill(stack.firestore_pid(), signal.SIGSTOP)
    try:
        dashboard.write("#key", key)
        dashboard.press(".key button[type=submit]")
        fault = dashboard.wait_for(lambda: dashboard.text(".key .fault"))
    finally:
        os.kill(stack.firestore_pid(), signal.SIGCONT)

    assert "key" not in fault


def test_a_failed_sign_out_is_reported(stack: Stack, dashboard: Dashboard) -> None:
    """The session goes on, and the page says so."""
    dashboard.open(stack)
    dashboard.set_offline(True)

    dashboard.press("nav button", "Sign out")

    fault = "You are still signed in. The server does not respond. Reload the page and sign out again."
    dashboard.wait_for(lambda: dashboard.text(".key .fault") == fault)
    dashboard.set_offline(False)
    dashboard.go_to(stack.url)
    dashboard.wait_until_live()


def test_a_key_that_cannot_read_is_refused(stack: Stack, dashboard: Dashboard) -> None:
    """The page displays results. It names the scope that is missing, in a sentence."""
    dashboard.sign_in(stack, stack.new_key("cannot-read", "submit"))

    dashboard.go_to(stack.url)

    expected = "This credential does not have the scope `read`; use a key or an access token that has it."
    dashboard.wait_for(lambda: dashboard.text(".key .fault") == expected)

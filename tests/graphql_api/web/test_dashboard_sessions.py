"""Sessions that change while pages are open: in another tab of the browser, or for another user."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from selenium.webdriver import Chrome

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.graphiql import GraphiQL
from tests.stack import Stack

SAMPLE = '{"time_stamp": "2026-11-24T01:02:03Z", "data": [5, 6]}'
LONG = f'{{"note": "{"x" * 200_000}", '
COUNT = "{ samples(first: 0) { totalCount } }"
SUBMITTER = ".forget"
REFUSE_SESSIONS = """
    window.isRefused = true;
    const original = window.fetch;
    const error = { code: 'UNAVAILABLE', message: 'Firestore does not respond' };
    window.fetch = (address, options) =>
        window.isRefused && address === '/session'
            ? Promise.resolve(Response.json({ error }, { status: 503 }))
            : original(address, options);
"""


@contextmanager
def second_tab(driver: Chrome) -> Iterator[None]:
    """Open a tab for a while. Afterwards, the first tab is the current one again."""
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    yield
    driver.close()
    driver.switch_to.window(first)


def test_a_page_displays_and_submits_as_the_user_who_signed_in_last(
    stack: Stack, dashboard: Dashboard, driver: Chrome, tmp_path: Path
) -> None:
    """The cookie applies to all tabs. A file is stored for the submitter that the page displays."""
    one, other = (stack.new_key(name) for name in ("one-tab", "other-tab"))
    file = tmp_path / "sample.json"
    file.write_text(SAMPLE)
    dashboard.open(stack, key=one)
    dashboard.drop(file)
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed")

    with second_tab(driver):
        dashboard.open(stack, key=other)

    dashboard.wait_for(lambda: dashboard.attributes(SUBMITTER, "title") == ["Signed in as other-tab"])
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "0")
    assert dashboard.text(".outcome") is None
    dashboard.drop(file)
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed")
    assert [stack.graphql(COUNT, key=key)["samples"]["totalCount"] for key in (one, other)] == [1, 1]


def test_a_sign_out_applies_to_all_tabs(stack: Stack, dashboard: Dashboard, driver: Chrome) -> None:
    """The tabs of the dashboard and of GraphiQL ask for a key."""
    dashboard.open(stack)
    page = GraphiQL(driver)

    with second_tab(driver):
        page.go_to(f"{stack.url}/graphql")
        page.wait_for(lambda: "Signed in as local" in (page.text("form.key") or ""))
        page.press("form.key button", "Sign out")
        page.wait_for(lambda: page.text("label[for=key]") == "Enter an API key:")

    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")


def test_the_next_user_sees_no_file_of_the_previous_one(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """A list of files is of one submitter."""
    file = tmp_path / "sample.csv"
    file.write_text("value\n1\n")
    dashboard.open(stack, key=stack.new_key("previous-user"))
    dashboard.drop(file)
    dashboard.wait_for(lambda: dashboard.text(".file.refused"))

    dashboard.press("nav button", "Sign out")
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")
    dashboard.write("#key", stack.new_key("next-user"))
    dashboard.press(".key button[type=submit]")

    dashboard.wait_until_live()
    dashboard.wait_for(lambda: dashboard.attributes(SUBMITTER, "title") == ["Signed in as next-user"])
    assert dashboard.text(".files") is None


def test_a_sign_out_stops_an_upload(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The same user can resume it later. Each sample is stored once."""
    key = stack.new_key("stopped-upload")
    file = tmp_path / "samples.ndjson"
    file.write_text("\n".join(SAMPLE.replace("6]", f"{number}]").replace("{", LONG) for number in range(20)))
    dashboard.open(stack, key=key)
    dashboard.throttle(bytes_per_second=2_000)  # the file is not sent before the limit ends
    dashboard.drop(file)
    dashboard.wait_for(lambda: "sending" in dashboard.attributes(".file", "class")[0])

    dashboard.press("nav button", "Sign out")
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")
    dashboard.throttle(bytes_per_second=-1)
    dashboard.write("#key", key)
    dashboard.press(".key button[type=submit]")

    dashboard.press(".retry", "Resume")
    dashboard.wait_for(lambda: dashboard.text(".retry") is None)
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "20 computed")
    assert stack.graphql(COUNT, key=key)["samples"]["totalCount"] == 20


def test_the_end_of_a_session_loses_no_edited_text(stack: Stack, dashboard: Dashboard) -> None:
    """After another sign-in, the editor contains the text. A user who cancels discards the text."""
    key = stack.new_key("edited-on-page")
    stack.wait_for(stack.post_sample(SAMPLE.encode(), x_api_key=key).json()["id"], key=key)
    text = "return document.querySelector('textarea')?.value"
    dashboard.open(stack, key=key)
    dashboard.press(".sample .actions button", "Correct")
    dashboard.wait_for(lambda: dashboard.run(text) == SAMPLE)
    dashboard.write("textarea", " edited")
    dashboard.command("Network.clearBrowserCookies")

    dashboard.press("dialog button[type=submit]")

    dashboard.wait_for(lambda: dashboard.text("h1") == "Sign in again")
    assert dashboard.text(".key .fault") == "The session has ended."
    dashboard.write("#key", key)
    dashboard.press(".key button[type=submit]")

    def shows(expected: str) -> bool:
        return bool(dashboard.run(text) == expected)

    for expected in (f"{SAMPLE} edited", SAMPLE):
        dashboard.press(".sample .actions button", "Correct")
        dashboard.wait_for(partial(shows, expected))
        dashboard.press("dialog button", "Cancel")


def test_a_download_after_the_end_of_a_session_is_reported(stack: Stack, dashboard: Dashboard) -> None:
    """The page names the reason instead of a status of HTTP."""
    key = stack.new_key("download-on-page")
    stack.wait_for(stack.post_sample(SAMPLE.encode(), x_api_key=key).json()["id"], key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".downloads"))
    dashboard.command("Network.clearBrowserCookies")

    dashboard.press(".downloads button", "CSV")

    dashboard.wait_for(lambda: dashboard.text("[role=alert]") == "The session has ended.")


def test_an_outage_while_the_page_opens_does_not_end_the_session(stack: Stack, dashboard: Dashboard) -> None:
    """The page does not ask for a key. It asks the server for the session again until the server responds."""
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=REFUSE_SESSIONS)
    dashboard.sign_in(stack)
    dashboard.go_to(f"{stack.url}/")
    notice = "Firestore does not respond. The page opens when the server responds again."
    dashboard.wait_for(lambda: dashboard.text(".notice") == notice)
    assert dashboard.text("input[name='key']") is None

    dashboard.run("window.isRefused = false")

    dashboard.wait_until_live()
    assert dashboard.text(".notice") is None


def test_a_sign_in_link_works_after_an_outage(stack: Stack, dashboard: Dashboard) -> None:
    """The page no longer has the token in its address. It sends the token again until the server responds."""
    link = stack.keys("sign-in-link", "--file", str(stack.key_file), "--url", stack.url).strip()
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=REFUSE_SESSIONS)
    dashboard.go_to(link)
    notice = "Firestore does not respond. The page opens when the server responds again."
    dashboard.wait_for(lambda: dashboard.text(".notice") == notice)

    dashboard.run("window.isRefused = false")

    dashboard.wait_until_live()

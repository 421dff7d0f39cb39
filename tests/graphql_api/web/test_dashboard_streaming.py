"""The dashboard while results and removals arrive, and while responses are late, in a real browser."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from threading import Event
from urllib.parse import urlsplit

import pytest

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

COUNT = "{ results(first: 0) { totalCount } }"
SITES = {"bern": 310, "zurich": 3}
HOLD_ALL_RESULTS = """
    window.held = [];
    const original = window.fetch;
    window.fetch = async (address, options) => {
        const response = await original(address, options);
        if (!/query Results[^]*"filter":{},/.test(options?.body ?? '')) return response;
        await new Promise((release) => held.push(release));
        return response;
    };
"""
HOLD_WATCHED_RESULTS = """
    window.held = [];
    const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
    Object.defineProperty(WebSocket.prototype, 'onmessage', {
        set(handle) {
            set.call(this, (event) => {
                const text = event.data;
                if (window.held && text.includes('"results"')) held.push({ text, deliver: () => handle(event) });
                else handle(event);
            });
        },
    });
"""

IS_HELD = "return held.some(({ text }) => text.includes(arguments[0]))"
"""Whether a message about a sample is held. Others can be held too, for example if the page subscribes again."""

END_SUBSCRIPTION = """
    window.ends = true;
    const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
    Object.defineProperty(WebSocket.prototype, 'onmessage', {
        set(handle) {
            set.call(this, (event) => {
                if (!window.ends || !event.data.includes('"results"')) return handle(event);
                window.ends = false;
                const { id } = JSON.parse(event.data);
                const error = { message: 'the client read too slowly', extensions: { code: 'TOO_SLOW', cursor: '' } };
                handle({ data: JSON.stringify({ id, type: 'error', payload: [error] }) });
            });
        },
    });
"""


def sample(site: str, value: int) -> dict[str, object]:
    """Return a sample of the current time."""
    return {"time_stamp": datetime.now(UTC).isoformat(), "data": [value], "labels": {"site": site}}


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has samples of two sites. More samples of one site exist than a page loads."""
    key = stack.new_key("streaming-on-page", "submit,read,admin")
    submit_lines(stack, key, [sample(site, value) for site, number in SITES.items() for value in range(number)])
    total = sum(SITES.values())
    query = "{ results(first: 0) { totalCount } }"
    eventually(lambda: stack.graphql(query, key=key)["results"]["totalCount"] == total, lambda: stack.log)
    return key


@contextmanager
def streaming(stack: Stack, key: str) -> Iterator[None]:
    """Submit one sample after another."""
    is_over = Event()

    def stream() -> None:
        for value in count(1_000):
            if is_over.is_set():
                return
            submit_lines(stack, key, [sample("bern", value)])

    with ThreadPoolExecutor() as thread:
        submission = thread.submit(stream)
        try:
            yield
        finally:
            is_over.set()
            submission.result()


def test_a_filter_can_be_chosen_while_results_arrive(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """Each new result renders the lists of labels again. They must not lose the choice of the user."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text("select[name='label.site']"))

    with streaming(stack, key):
        dashboard.wait_for(lambda: dashboard.arrived() > 3)
        dashboard.write("select[name='label.site']", "zurich")
        dashboard.wait_for(lambda: urlsplit(dashboard.address).query == "label.site=zurich")

    dashboard.wait_for(lambda: len(dashboard.results()) == SITES["zurich"])


def test_a_late_response_for_an_earlier_filter_has_no_effect(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The page must not read the next page of another filter."""
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=HOLD_ALL_RESULTS)
    dashboard.sign_in(stack, key)
    dashboard.go_to(f"{stack.url}/")
    dashboard.wait_for(lambda: dashboard.run("return held.length > 0"))
    dashboard.wait_for(lambda: dashboard.text("select[name='label.site']"))
    dashboard.write("select[name='label.site']", "zurich")
    dashboard.wait_for(lambda: len(dashboard.results()) == SITES["zurich"])
    dashboard.wait_until_live()

    dashboard.run("held.forEach((release) => release())")

    new = stack.submit(sample("zurich", 7), key=key)["id"]
    dashboard.wait_for(lambda: new in dashboard.results())  # the page has processed the late response before
    assert dashboard.text(".results .more") is None
    stack.graphql('mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "") { id } }', {"ids": [new]}, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == SITES["zurich"])


def test_the_first_result_appears_although_it_is_stored_before_the_page_subscribes(
    stack: Stack, dashboard: Dashboard
) -> None:
    """The page has read an empty list, so it has no cursor of a result."""
    key = stack.new_key("first-result-on-page")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=HOLD_ALL_RESULTS)
    dashboard.sign_in(stack, key)
    dashboard.go_to(f"{stack.url}/")
    dashboard.wait_for(lambda: dashboard.run("return held.length > 0"))
    first = stack.submit(sample("bern", 1), key=key)["id"]
    stack.wait_for(first, key=key)

    dashboard.run("held.forEach((release) => release())")

    dashboard.wait_for(lambda: dashboard.results() == [first])


def test_a_deleted_result_does_not_appear_although_its_removal_arrives_first(
    stack: Stack, dashboard: Dashboard
) -> None:
    """Results and removals have separate subscriptions. After a reconnect, either can be faster."""
    key = stack.new_key("removal-on-page", "submit,read,admin")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=HOLD_WATCHED_RESULTS)
    first = stack.submit(sample("bern", 1), key=key)["id"]
    stack.wait_for(first, key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.results() == [first])
    deleted = stack.submit(sample("bern", 2), key=key)["id"]
    dashboard.wait_for(lambda: dashboard.run(IS_HELD, deleted))

    stack.graphql('mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "") { id } }', {"ids": [deleted]}, key=key)
    dashboard.wait_for(lambda: any("removals" in json.dumps(message) for message in dashboard.received()))
    kept = stack.submit(sample("bern", 3), key=key)["id"]
    dashboard.wait_for(lambda: dashboard.run(IS_HELD, kept))
    dashboard.run("const all = held; window.held = null; all.forEach(({ deliver }) => deliver())")

    dashboard.wait_for(lambda: kept in dashboard.results())
    assert dashboard.results() == [kept, first]


def test_a_page_that_was_too_slow_continues_after_the_last_result(stack: Stack, dashboard: Dashboard) -> None:
    """The server ends a subscription that is not read, for example while a computer sleeps."""
    key = stack.new_key("slow-page")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=END_SUBSCRIPTION)
    first = stack.submit(sample("bern", 1), key=key)["id"]
    stack.wait_for(first, key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.results() == [first])

    second = stack.submit(sample("bern", 2), key=key)["id"]

    dashboard.wait_for(lambda: dashboard.results() == [second, first])
    assert dashboard.text("[role=alert]") is None


def test_a_page_without_timers_displays_many_results(stack: Stack, dashboard: Dashboard) -> None:
    """A browser delays the timers of a hidden page by up to a minute. The page must not keep all results until then."""
    key = stack.new_key("hidden-page")
    dashboard.open(stack, key=key)
    dashboard.run("window.setTimeout = () => 0")

    submit_lines(stack, key, [sample("bern", value) for value in range(2_100)])

    dashboard.wait_for(lambda: dashboard.arrived() >= 2_000)


def test_results_that_are_arriving_are_not_missing_in_the_plot(stack: Stack, dashboard: Dashboard) -> None:
    """The server may count them before the page displays them. The plot does not change to means by time bucket."""
    key = stack.new_key("arriving-on-page", "submit,read,admin")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=HOLD_WATCHED_RESULTS)
    deleted, *_ = submit_lines(stack, key, [sample("bern", value) for value in range(5)])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 5, lambda: stack.log)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 5)
    hint = dashboard.text(".shown")
    arriving = submit_lines(stack, key, [sample("bern", value) for value in range(5, 8)])
    dashboard.wait_for(lambda: all(dashboard.run(IS_HELD, sample_id) for sample_id in arriving))

    stack.graphql('mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "") { id } }', {"ids": [deleted]}, key=key)

    dashboard.wait_for(lambda: " of 7" in (dashboard.text("[data-arrived]") or ""))
    assert dashboard.text(".shown") == hint
    dashboard.run("const all = held; window.held = null; all.forEach(({ deliver }) => deliver())")
    dashboard.wait_for(lambda: len(dashboard.results()) == 7)

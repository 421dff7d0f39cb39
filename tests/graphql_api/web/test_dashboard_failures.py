"""Responses that fail or are late while the dashboard stays connected, in a real browser."""

from datetime import UTC, datetime, timedelta
from functools import partial

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

COUNT = "{ results(first: 0) { totalCount } }"
DISPLAYED = ".sample code.hint"
UNAVAILABLE = {"errors": [{"message": "Firestore does not respond", "extensions": {"code": "UNAVAILABLE"}}]}
COUNT_LOADS = """
    window.loads = 0;
    const counted = window.fetch;
    window.fetch = (address, options) => {
        if (String(options?.body).includes('query Sample(')) loads += 1;
        return counted(address, options);
    };
"""
HOLD_SAMPLE = """
    window.held = [];
    window.shown = [];
    const original = window.fetch;
    window.fetch = async (address, options) => {
        const response = await original(address, options);
        const isSample = String(options?.body).includes('query Sample(');
        if (isSample && options.body.includes(window.holds)) await new Promise((release) => held.push(release));
        return response;
    };
    new MutationObserver(() => shown.push(document.querySelector('.sample code.hint')?.title))
        .observe(document, { subtree: true, childList: true, attributes: true });
"""


HOLD_COUNTS = """
    window.held = [];
    const original = window.fetch;
    window.fetch = async (address, options) => {
        const response = await original(address, options);
        const isHeld = ['query States(', 'bern'].every((words) => String(options?.body).includes(words));
        if (isHeld) await new Promise((release) => held.push(release));
        return response;
    };
"""


DISCARD_REMOVALS = """
    const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
    Object.defineProperty(WebSocket.prototype, 'onmessage', {
        set(handle) {
            set.call(this, (event) => event.data.includes('"removals"') || handle(event));
        },
    });
"""


def submit(stack: Stack, key: str, *values: int, age: timedelta = timedelta()) -> None:
    """Submit a sample with each of the values, and wait until their results are stored."""
    total = stack.graphql(COUNT, key=key)["results"]["totalCount"] + len(values)
    time_stamp = (datetime.now(UTC) - age).isoformat()
    samples = [{"time_stamp": time_stamp, "data": [value], "labels": {"site": "bern"}} for value in values]
    submit_lines(stack, key, samples)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == total, lambda: stack.log)


def displays_newest(dashboard: Dashboard, count: int) -> bool:
    """Return whether the table has `count` results, and the first one is the displayed sample."""
    ids = dashboard.results()
    return len(ids) == count and dashboard.attributes(DISPLAYED, "title") == ids[:1]


def test_arriving_results_do_not_repeat_a_request_that_fails(stack: Stack, dashboard: Dashboard) -> None:
    """If the server limits the rate of requests, it would refuse them too. The page repeats the request later."""
    key = stack.new_key("refused-on-page")
    submit(stack, key, 0)
    dashboard.replace_responses("query Sample(", UNAVAILABLE)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=COUNT_LOADS)
    dashboard.open(stack, key=key)
    dashboard.press(".results tbody button")  # otherwise the page loads each new result
    dashboard.wait_for(lambda: dashboard.text(".sample .fault") == "Firestore does not respond.")
    selected = dashboard.results()
    dashboard.run("window.loads = 0")

    for part in range(1, 21):
        submit(stack, key, *range(10 * part, 10 * part + 10))
    dashboard.wait_for(lambda: dashboard.arrived() == 200)

    assert dashboard.run("return loads") < 100
    dashboard.run("window.isReplaced = false")
    dashboard.wait_for(lambda: dashboard.attributes(DISPLAYED, "title") == selected)
    assert dashboard.text(".sample .fault") is None


def test_a_late_response_does_not_replace_the_displayed_sample(stack: Stack, dashboard: Dashboard) -> None:
    """The response for a sample that the user has left arrives after the one for the newest sample."""
    key = stack.new_key("late-on-page")
    for value in (1, 2):
        submit(stack, key, value)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=HOLD_SAMPLE)
    dashboard.open(stack, key=key)
    newest, older = dashboard.wait_for(lambda: ids if len(ids := dashboard.results()) == 2 else None)
    dashboard.wait_for(lambda: dashboard.attributes(DISPLAYED, "title") == [newest])
    dashboard.run("window.holds = arguments[0]", older)
    dashboard.press(f"tr[data-id='{older}'] button")
    dashboard.wait_for(lambda: dashboard.run("return held.length === 1"))
    dashboard.press(".sample .card-head button", "Show the newest")

    for count in (3, 4):
        submit(stack, key, count)
        dashboard.wait_for(partial(displays_newest, dashboard, count))
        dashboard.run("held[0]()")

    assert older not in dashboard.run("return shown")


def test_a_late_count_for_an_earlier_filter_displays_no_error(stack: Stack, dashboard: Dashboard) -> None:
    """The server refuses the next request for the earlier filter, because its labels do not allow the new order."""
    key = stack.new_key("late-count-on-page")
    submit(stack, key, 1, 2)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=HOLD_COUNTS)
    dashboard.open(stack, "/?label.site=bern", key=key)
    dashboard.wait_for(lambda: dashboard.run("return held.length === 1"))
    dashboard.press(".filter button[type=reset]")
    dashboard.wait_for(lambda: len(dashboard.results()) == 2)

    dashboard.run("held[0]()")

    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "2")
    assert dashboard.text("[role=alert]") is None


def test_a_rejected_sample_can_be_deleted_twice(stack: Stack, dashboard: Dashboard) -> None:
    """The page has not received the removal. The answer NOT_FOUND is what the user wants."""
    key = stack.new_key("deleted-twice", "submit,read,admin")
    gone = stack.submit({"data": [1]}, key=key)["id"]
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=DISCARD_REMOVALS)
    dashboard.open(stack, key=key)
    dashboard.press(".problems button", gone[:8])
    dashboard.press(".sample .actions button", "Delete")
    stack.graphql('mutation ($id: ID!) { deleteSamples(ids: [$id], reason: "") { id } }', {"id": gone}, key=key)
    eventually(lambda: stack.sample(gone, key=key) is None, lambda: stack.log)

    dashboard.press("dialog button[type=submit]")

    dashboard.wait_for(lambda: dashboard.text("#sample-title") == "Newest sample")
    assert dashboard.text("dialog") is None
    dashboard.wait_for(lambda: dashboard.text(".problems .empty") == "No sample was rejected or failed.")


def test_the_labels_are_read_again_after_a_failure(stack: Stack, dashboard: Dashboard) -> None:
    """The filter offers them although no displayed result has them."""
    key = stack.new_key("labels-again-on-page")
    submit(stack, key, 1, age=timedelta(days=1))
    dashboard.replace_responses("query Labels ", UNAVAILABLE)
    dashboard.open(stack, "/?last=hour", key=key)
    dashboard.wait_for(lambda: dashboard.text(".results .empty") or "").startswith("No result matches")
    assert dashboard.text("select[name='label.site']") is None

    dashboard.run("window.isReplaced = false")

    dashboard.wait_for(lambda: dashboard.text("select[name='label.site']") == "any bern")


def test_the_samples_in_a_state_are_read_again_after_a_failure(stack: Stack, dashboard: Dashboard) -> None:
    """Their number does not change meanwhile."""
    key = stack.new_key("rejected-again-on-page")
    rejected = stack.submit({"data": [1]}, key=key)["id"]
    dashboard.replace_responses('"first":50', UNAVAILABLE)
    dashboard.open(stack, "/?state=REJECTED", key=key)
    dashboard.wait_for(lambda: dashboard.text(".count.rejected .value") == "1")
    assert dashboard.text(".results .empty") == "Loading samples…"

    dashboard.run("window.isReplaced = false")

    dashboard.wait_for(lambda: dashboard.results() == [rejected])

"""The total of the dashboard's results, which the server counts, in a real browser."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from storage.documents import document_paths
from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import make_failed, submit_lines
from tests.stack import Stack, eventually

START = datetime(2026, 11, 17, tzinfo=UTC)
REJECTED = {"time_stamp": "2026-11-17T00:00:00", "data": []}
RECORD_TOTALS = """
    window.totals = [0];
    new MutationObserver(() => {
        const [, total] = document.querySelector('[data-arrived]')?.textContent.match(/ of ([\\d,]+)/) ?? [];
        if (total) totals.push(Number(total.replaceAll(',', '')));
    }).observe(document, { subtree: true, childList: true, characterData: true });
"""
SHORTEN_INTERVALS = """
    const original = setInterval;
    window.setInterval = (callback, milliseconds) => original(callback, Math.min(milliseconds, 1_000));
"""


def submit_values(stack: Stack, key: str, count: int) -> list[str]:
    """Submit samples with different values and times, half a minute apart. Return their ids."""
    times = (START + timedelta(seconds=30 * value) for value in range(count))
    return submit_lines(
        stack, key, ({"time_stamp": time.isoformat(), "data": [value]} for value, time in enumerate(times))
    )


def has_results(stack: Stack, key: str, total: int) -> bool:
    """Return whether there are `total` results."""
    results = stack.graphql("{ results(first: 0) { totalCount } }", key=key)["results"]
    return bool(results["totalCount"] == total)


def lists(dashboard: Dashboard, selector: str, sample_id: str) -> bool:
    """Return whether a part of the page displays a sample."""
    return sample_id[:8] in (dashboard.text(selector) or "")


def head(dashboard: Dashboard) -> str:
    """Return the text above the table, which contains the total."""
    return dashboard.text("[data-arrived]") or ""


@pytest.mark.timeout(400)
def test_20_000_results_are_plotted_and_counted_while_3_000_of_them_arrive(stack: Stack, dashboard: Dashboard) -> None:
    """Some arrive while the page loads, others while it is live. The total never exceeds the number of results."""
    key = stack.new_key("totals-on-page")
    for total in range(4_250, 17_001, 4_250):  # each part is waited for, because a loaded machine needs long for all
        submit_values(stack, key, 4_250)
        eventually(partial(has_results, stack, key, total), lambda: stack.log)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=RECORD_TOTALS)

    with ThreadPoolExecutor() as thread:
        submission = thread.submit(submit_values, stack, key, 1_000)
        dashboard.open(stack, key=key)
        assert len(submission.result() + submit_values(stack, key, 2_000)) == 3_000
    eventually(partial(has_results, stack, key, 20_000), lambda: stack.log)

    dashboard.wait_for(lambda: " of 20,000" in head(dashboard))
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "20,000")
    assert dashboard.run("return Math.max(...totals)") == 20_000
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: "300 of 20,000 results shown as points" in (dashboard.text(".shown") or ""))
    dashboard.wait_for(lambda: "The line shows all 20,000" in (dashboard.text(".shown") or ""))
    note = "per hour. Shorter buckets would take too long to compute."
    assert note in (dashboard.text(".shown") or "")
    dashboard.press(".results thead button", "Mean")
    dashboard.wait_for(lambda: (dashboard.text(".results tbody td:nth-child(2)") or "").startswith("4,249 4,249 "))
    assert dashboard.console() == []


def test_a_result_that_is_computed_again_is_counted_once(stack: Stack, dashboard: Dashboard) -> None:
    """It arrives as a new result, and the page did not display the old one."""
    key = stack.new_key("recomputed-on-page", "submit,read,admin")
    ids = submit_values(stack, key, 310)
    eventually(partial(has_results, stack, key, len(ids)), lambda: stack.log)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=RECORD_TOTALS)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: "newest 25 of 310" in head(dashboard))
    listed = stack.graphql(
        "{ results(orderBy: { field: COMPUTED_AT, direction: DESC }, first: 310) { edges { node { id } } } }", key=key
    )
    oldest = listed["results"]["edges"][-1]["node"]["id"]

    stack.graphql("mutation ($ids: [ID!]) { recompute(ids: $ids) { id } }", {"ids": [oldest]}, key=key)

    dashboard.wait_for(lambda: dashboard.arrived() == 1)
    added = stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [0]}, key=key)["id"]
    dashboard.wait_for(lambda: "newest 25 of 311" in head(dashboard))
    assert dashboard.results()[:2] == [added, oldest]
    assert dashboard.run("return Math.max(...totals)") == 311


def test_a_new_filter_starts_the_number_of_new_results_again(stack: Stack, dashboard: Dashboard) -> None:
    """The results that arrived before may not match the filter, and the total already contains those that do."""
    key = stack.new_key("new-on-page")

    def submit(site: str) -> None:
        stack.submit({"time_stamp": START.isoformat(), "data": [1], "labels": {"site": site}}, key=key)

    submit("zurich")
    eventually(lambda: has_results(stack, key, 1), lambda: stack.log)
    dashboard.open(stack, key=key)
    submit("bern")
    dashboard.wait_for(lambda: head(dashboard) == "newest 2 of 2, 1 new since this view was opened")

    dashboard.write("select[name='label.site']", "zurich")

    dashboard.wait_for(lambda: head(dashboard) == "newest 1 of 1")
    submit("zurich")
    dashboard.wait_for(lambda: head(dashboard) == "newest 2 of 2, 1 new since this view was opened")


def test_a_number_that_is_not_known_yet_is_not_displayed_as_zero(stack: Stack, dashboard: Dashboard) -> None:
    """The page counts the results in a range while it loads them."""
    key = stack.new_key("range-without-server")
    submit_lines(stack, key, [{"time_stamp": datetime.now(UTC).isoformat(), "data": [1]}])
    eventually(lambda: has_results(stack, key, 1), lambda: stack.log)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "1")
    dashboard.set_offline(True)

    dashboard.press(".presets button", "Last day")

    dashboard.wait_for(lambda: dashboard.text(".results .empty") == "Loading results…")
    assert dashboard.text(".count.computed .value") == "\N{EN DASH}"
    assert dashboard.text(".plot .empty") == ""
    dashboard.set_offline(False)
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "1")


def test_kept_results_of_expired_samples_do_not_hide_a_failed_sample(stack: Stack, dashboard: Dashboard) -> None:
    """The numbers by state are of the samples that exist. The retention can keep results for longer."""
    key = stack.new_key("expired-on-page")
    expired = submit_values(stack, key, 3)
    [computed, failed] = submit_values(stack, key, 2)
    eventually(lambda: has_results(stack, key, 5), lambda: stack.log)
    firestore: Any = stack.firestore()  # `close` has no type hints
    for sample_id in expired:
        firestore.document(document_paths.sample("expired-on-page", sample_id)).delete()
    firestore.close()
    make_failed(stack, key, "expired-on-page", failed)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: failed[:8] in (dashboard.text(".problems li") or ""))
    assert dashboard.text(".count:not(.delay) .value") == "0 1 1 0"
    assert set(dashboard.results()) == {*expired, computed}


@pytest.mark.parametrize("path", ["/", "/?order_by=mean&direction=asc"])
def test_expired_results_leave_an_open_page(stack: Stack, dashboard: Dashboard, path: str) -> None:
    """Firestore deletes them without an event. The page counts all results every ten minutes, here every second."""
    submitter = f"expiring-on-page-{len(path)}"
    key = stack.new_key(submitter)
    expired, *_ = ids = submit_values(stack, key, 3)
    eventually(lambda: has_results(stack, key, 3), lambda: stack.log)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=SHORTEN_INTERVALS)
    dashboard.open(stack, path, key=key)
    dashboard.wait_for(lambda: set(dashboard.results()) == set(ids))

    firestore: Any = stack.firestore()  # `close` has no type hints
    firestore.document(document_paths.result(submitter, expired)).delete()
    firestore.close()

    dashboard.wait_for(lambda: set(dashboard.results()) == {*ids} - {expired})
    dashboard.wait_for(lambda: " of 2" in (dashboard.text("[data-arrived]") or ""))
    dashboard.wait_until_live()


@pytest.mark.parametrize(("delays", "median"), [((10, 30), "20 ms"), ((10, 30, 900), "30 ms")])
def test_the_median_of_the_delays_is_between_the_two_in_the_middle(
    stack: Stack, dashboard: Dashboard, delays: tuple[int, ...], median: str
) -> None:
    """The larger one of two would be the slowest."""
    sample = {"submittedAt": "2026-11-17T00:00:00Z"}
    computed = [f"2026-11-17T00:00:00.{delay:03}Z" for delay in delays]
    edges = [{"node": {"id": str(uuid4()), "firstComputedAt": time, "sample": sample}} for time in computed]
    dashboard.replace_responses("query Delays", {"data": {"results": {"edges": edges}}})

    dashboard.open(stack, key=stack.new_key("delays-on-page"))

    dashboard.wait_for(lambda: f"median of {len(delays)}" in (dashboard.text(".delay") or ""))
    assert dashboard.text(".delay .value") == median


@pytest.mark.parametrize("path", ["/", "/?state=REJECTED"])
def test_a_rejected_sample_that_takes_the_place_of_a_deleted_one_is_listed(
    stack: Stack, dashboard: Dashboard, path: str
) -> None:
    """A program can delete a sample and submit it again within a second, and the numbers stay the same."""
    key = stack.new_key(f"replaced-on-page-{len(path)}", "submit,read,admin")
    earlier = stack.submit(REJECTED, key=key)["id"]
    dashboard.open(stack, path, key=key)
    dashboard.wait_for(lambda: lists(dashboard, ".problems", earlier))
    dashboard.wait_for(lambda: dashboard.text(".count.rejected .value") == "1")

    httpx.delete(f"{stack.url}/samples/{earlier}", headers={"x-api-key": key}).raise_for_status()
    later = stack.submit(REJECTED, key=key)["id"]

    for listed in (".problems", ".results") if "state" in path else (".problems",):
        dashboard.wait_for(partial(lists, dashboard, listed, later))
        assert not lists(dashboard, listed, earlier)

"""The total of the dashboard's results, which the server counts, in a real browser."""

from concurrent.futures import ThreadPoolExecutor

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

COUNT = "{ results(first: 0) { totalCount } }"
RECORD_TOTALS = """
    window.totals = [0];
    new MutationObserver(() => {
        const [, total] = document.querySelector('[data-arrived]')?.textContent.match(/ of ([\\d,]+)/) ?? [];
        if (total) totals.push(Number(total.replaceAll(',', '')));
    }).observe(document, { subtree: true, childList: true, characterData: true });
"""


def submit_values(stack: Stack, key: str, count: int) -> list[str]:
    """Submit samples with different values in one request. Return their ids."""
    return submit_lines(stack, key, ({"time_stamp": "2026-11-24T01:02:03Z", "data": [value]} for value in range(count)))


def head(dashboard: Dashboard) -> str:
    """Return the text above the table, which contains the total."""
    return dashboard.text("[data-arrived]") or ""


def test_the_total_is_right_while_results_arrive(stack: Stack, dashboard: Dashboard) -> None:
    """Some arrive while the page loads, others while it is live. The total never exceeds the number of results."""
    key = stack.new_key("totals-on-page")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=RECORD_TOTALS)

    with ThreadPoolExecutor() as thread:
        submission = thread.submit(submit_values, stack, key, 1_000)
        dashboard.open(stack, key=key)
        assert len(submission.result() + submit_values(stack, key, 2_000)) == 3_000

    dashboard.wait_for(lambda: " of 3,000" in head(dashboard))
    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "3,000")
    assert dashboard.run("return Math.max(...totals)") == 3_000


def test_a_result_that_is_computed_again_is_counted_once(stack: Stack, dashboard: Dashboard) -> None:
    """It arrives as a new result, and the page did not display the old one."""
    key = stack.new_key("recomputed-on-page", "submit,read,admin")
    ids = submit_values(stack, key, 310)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == len(ids), lambda: stack.log)
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

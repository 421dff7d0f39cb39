"""The labels that the filter of the dashboard offers, in a real browser."""

from datetime import UTC, datetime, timedelta
from functools import partial

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

COUNT = "{ results(first: 0) { totalCount } }"
BY_LABEL = """{
    results(filter: { labels: [{ name: "site", value: "bern" }] }, first: 500) { edges { node { id } } }
}"""
RECOMPUTE = "mutation ($ids: [ID!]!) { recompute(ids: $ids) { id } }"
NAMES = [f"name{number:02d}" for number in range(48)]


def sample(days: int, **labels: str) -> dict[str, object]:
    """Return a sample of an earlier day."""
    return {"time_stamp": (datetime.now(UTC) - timedelta(days=days)).isoformat(), "data": [1], "labels": labels}


def has_rows(dashboard: Dashboard, number: int) -> bool:
    """Return whether the table has this number of rows."""
    return len(dashboard.results()) == number


def test_the_labels_of_all_results_are_offered(stack: Stack, dashboard: Dashboard) -> None:
    """The server refuses a request for the values of more than 50 names. No displayed result has these labels."""
    key = stack.new_key("many-names-on-page")
    lines = [sample(1, **dict.fromkeys(NAMES[start : start + 4], "old")) for start in range(0, len(NAMES), 4)]
    submit_lines(stack, key, lines)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == len(lines), lambda: stack.log)

    dashboard.open(stack, "/?last=hour", key=key)

    offered = ["state", *(f"label.{name}" for name in NAMES)]
    dashboard.wait_for(lambda: dashboard.attributes(".filter select", "name") == offered)
    assert dashboard.text("select[name='label.name47']") == "any old"


def test_labels_of_results_that_are_not_displayed_any_more_are_offered(stack: Stack, dashboard: Dashboard) -> None:
    """The result arrived after the page had read the labels of all results."""
    key = stack.new_key("arrived-labels-on-page")
    dashboard.open(stack, key=key)
    new = stack.submit(sample(1, site="zurich"), key=key)["id"]
    dashboard.wait_for(lambda: dashboard.results() == [new])

    dashboard.press(".presets button", "Last hour")

    dashboard.wait_for(lambda: (dashboard.text(".results .empty") or "").startswith("No result matches"))
    assert dashboard.text("select[name='label.site']") == "any zurich"


def test_results_that_are_computed_again_stay_on_the_page_and_are_listed_once(
    stack: Stack, dashboard: Dashboard
) -> None:
    """With labels, the newest time stamp comes first. Two results have the last time stamp of the loaded page."""
    key = stack.new_key("again-by-label-on-page", "submit,read,admin")
    minutes = [0, 1, 2, 4, 4, *range(5, 304)]
    times = [datetime(2026, 11, 17, tzinfo=UTC) + timedelta(minutes=minute) for minute in minutes]
    submit_lines(
        stack, key, [{"time_stamp": time.isoformat(), "data": [1], "labels": {"site": "bern"}} for time in times]
    )
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == len(times), lambda: stack.log)
    ids = [edge["node"]["id"] for edge in stack.graphql(BY_LABEL, key=key)["results"]["edges"]]
    dashboard.open(stack, "/?label.site=bern", key=key)
    dashboard.wait_for(lambda: "300 of 304 results" in (dashboard.text(".shown") or ""))

    stack.graphql(RECOMPUTE, {"ids": ids[299:301]}, key=key)
    dashboard.wait_for(lambda: dashboard.arrived() == 2)
    for number in (*range(50, 301, 25), 301, 304):
        dashboard.press(".more")
        dashboard.wait_for(partial(has_rows, dashboard, number))

    assert sorted(dashboard.results()) == sorted(ids)
    assert f"newest 304 of {len(ids)}" in (dashboard.text("[data-arrived]") or "")


def test_a_value_from_right_to_left_does_not_change_the_order_of_other_text(stack: Stack, dashboard: Dashboard) -> None:
    """The room 5 is written with its number first, and read from right to left. The number of results stays last."""
    key = stack.new_key("right-to-left-on-page")
    room = "5 \N{HEBREW LETTER HET}\N{HEBREW LETTER DALET}\N{HEBREW LETTER RESH}"
    stack.wait_for(stack.submit(sample(0, room=room, unit="V"), key=key)["id"], key=key)
    dashboard.resize(1400)

    dashboard.open(stack, "/?lines=room", key=key)

    dashboard.wait_for(lambda: dashboard.text(".results td.text") == f"room {room}, unit V")
    assert dashboard.attributes(".chip", "title") == [f"\u2068{room}\u2069: 1 result"]
    assert dashboard.attributes(".results td.text", "title") == [f"room \u2068{room}\u2069, unit \u2068V\u2069"]
    left = """
        const nodes = document.createTreeWalker(document.querySelector('.results td.text'), NodeFilter.SHOW_TEXT);
        for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
            const at = node.data.indexOf(arguments[0]);
            if (at < 0) continue;
            const range = document.createRange();
            range.setStart(node, at);
            range.setEnd(node, at + 1);
            return range.getBoundingClientRect().left;
        }
    """
    number, letter, after = (dashboard.run(left, character) for character in ("5", room[2], "V"))
    assert letter < number < after

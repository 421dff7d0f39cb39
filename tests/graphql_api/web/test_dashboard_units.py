"""The units of the results in the plot of the dashboard, in a real browser."""

from datetime import UTC, datetime, timedelta

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

NOW = datetime.now(UTC) - timedelta(minutes=1)
COUNT = "{ results(first: 0) { totalCount } }"


def submit(stack: Stack, key: str, unit: str, times: range, total: int) -> None:
    """Submit a sample of a unit for each of the last minutes, and wait until the submitter has `total` results."""
    lines = [
        {"time_stamp": (NOW - timedelta(minutes=minutes)).isoformat(), "data": [1, 2], "labels": {"unit": unit}}
        for minutes in times
    ]
    submit_lines(stack, key, lines)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == total, lambda: stack.log)


def test_a_range_with_one_unit_has_one_line(stack: Stack, dashboard: Dashboard) -> None:
    """Results outside of the range have another unit. The page shows the statistics of all results in the range."""
    key = stack.new_key("one-unit-in-range")
    submit(stack, key, "A", range(24 * 60, 24 * 60 + 3), 3)
    submit(stack, key, "V", range(3), 6)
    dashboard.open(stack, "/?last=hour", key=key)

    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "all results")
    assert dashboard.text(".unit") == "V"
    assert dashboard.text(".chip") is None
    dashboard.press(".presets button", "All")
    dashboard.wait_for(lambda: dashboard.text(".chip") == "A V")
    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "A V")
    dashboard.press(".presets button", "Last hour")
    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "all results")


def test_the_server_knows_the_units_of_results_that_are_not_loaded(stack: Stack, dashboard: Dashboard) -> None:
    """The page loads 300 results. By default, results with different units are different lines."""
    key = stack.new_key("units-that-are-not-loaded")
    submit(stack, key, "A", range(3 * 24 * 60, 3 * 24 * 60 + 3), 3)
    submit(stack, key, "V", range(24 * 60, 24 * 60 + 1), 4)
    submit(stack, key, "V", range(301), 305)
    dashboard.open(stack, "/?last=day", key=key)
    dashboard.wait_for(lambda: "The line shows all 301 results" in (dashboard.text(".shown") or ""))
    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "all results")
    assert dashboard.text(".chip") is None

    dashboard.press(".presets button", "Last week")

    dashboard.wait_for(lambda: dashboard.text(".chip") == "A V")
    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "A V")

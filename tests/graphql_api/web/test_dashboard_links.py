"""Links to a view of the dashboard: lines, axis, order, sample and dates, in a real browser."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from selenium.webdriver import Chrome

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

COUNT = "{ results(first: 0) { totalCount } }"
SELECTED = ".sample code.hint"


def query(dashboard: Dashboard) -> list[tuple[str, str]]:
    """Return the parameters of the address."""
    return parse_qsl(urlsplit(dashboard.address).query)


def test_a_link_displays_the_same_lines_order_and_sample(stack: Stack, dashboard: Dashboard, driver: Chrome) -> None:
    """Two sensors are compared. A change of the filter keeps the view, and the button Back restores it."""
    key = stack.new_key("link-on-page")
    sensors = ("t1", "t2", "t3")
    ids = submit_lines(
        stack,
        key,
        [
            {"time_stamp": "2026-11-24T01:02:03Z", "data": [value], "labels": {"sensor": sensor}}
            for value, sensor in enumerate(sensors)
        ],
    )
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 3, lambda: stack.log)
    dashboard.resize(1400)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".series-select"))

    dashboard.write(".series-select select", "sensor")
    for sensor in ("t3", "t1"):
        dashboard.press(".chip", sensor)
    dashboard.press("[role=radiogroup] label", "Computed at")
    for _ in range(2):
        dashboard.press(".order", "Mean")
    dashboard.wait_for(lambda: dashboard.results() == ids)
    dashboard.press(f"tr[data-id='{ids[1]}'] button")

    view = [("lines", "sensor"), ("line", "t3"), ("line", "t1"), ("axis", "computed_at"), ("order_by", "mean")]
    view += [("direction", "asc"), ("sample", ids[1])]
    dashboard.wait_for(lambda: query(dashboard) == view)
    link = dashboard.address
    dashboard.go_to("about:blank")
    dashboard.go_to(link)
    dashboard.wait_until_live()
    dashboard.wait_for(lambda: dashboard.attributes(".chip", "aria-pressed") == ["true", "false", "true"])
    assert dashboard.text("[role=radiogroup] label:has(:checked)") == "Computed at"
    dashboard.wait_for(lambda: dashboard.results() == ids)
    dashboard.wait_for(lambda: dashboard.attributes(SELECTED, "title") == [ids[1]])
    dashboard.write("[name='mean.gte']", "1")
    dashboard.wait_for(lambda: query(dashboard) == [("mean.gte", "1"), *view])
    dashboard.press(".sample .card-head button", "Show the newest")
    dashboard.wait_for(lambda: query(dashboard) == [("mean.gte", "1"), *view[:-1]])
    driver.back()
    dashboard.wait_for(lambda: dashboard.attributes(SELECTED, "title") == [ids[1]])
    assert query(dashboard) == view


def test_a_link_with_a_wrong_view_displays_the_default(stack: Stack, dashboard: Dashboard) -> None:
    """A label that cannot exist and an order without an index would be refused by the server."""
    key = stack.new_key("wrong-link-on-page")
    stack.wait_for(stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}, key=key)["id"], key=key)

    dashboard.open(stack, "/?lines=UPPER&axis=x&order_by=kurtosis&direction=up&sample=unknown", key=key)

    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "all results")
    dashboard.wait_for(lambda: "No sample has this id." in (dashboard.text(".sample .empty") or ""))
    dashboard.wait_for(lambda: query(dashboard) == [("sample", "unknown")])
    assert dashboard.text("[role=alert]") is None
    dashboard.press(".sample .card-head button", "Show the newest")
    dashboard.wait_for(lambda: query(dashboard) == [])


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        ("2026-01-05", "2026-01-05T00:00"),
        ("2026-1-5", "2026-01-05T00:00"),
        ("2026/01/05", "2026-01-05T00:00"),
        ("2026", "2026-01-01T00:00"),
        ("2026-01-05 8:00 PM", ""),  # a browser reads it in the time zone of its user
    ],
)
def test_a_date_in_a_link_is_in_utc(stack: Stack, dashboard: Dashboard, date: str, shown: str) -> None:
    """Users in all time zones see the same results."""
    dashboard.command("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")

    dashboard.open(stack, f"/?timestamp.gte={date}", key=stack.new_key("dates-on-page"))

    script = "return document.querySelector(\"[name='timestamp.gte']\").value"
    assert dashboard.run(script) == shown

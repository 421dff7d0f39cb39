"""The plot of more results than the dashboard loads, and its ranges of time, in a real browser."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

OLD, NEW = range(300, 400), range(300)
COUNT = "{ results(first: 0) { totalCount } }"
SET_CLOCK = """
    window.difference = %d * 3_600_000;
    const { now } = Date;
    Date.now = () => now() + difference;
"""
OPEN_FOR_HOURS = """
    const { get } = Headers.prototype;
    Headers.prototype.get = function (name) {
        return name === 'date' ? new Date(Date.now()).toUTCString() : get.call(this, name);
    };
    const repeat = window.setInterval;
    window.setInterval = (action, milliseconds) => repeat(action, 100 * milliseconds);
"""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has a result for every five minutes, and one of another year.

    The page loads only the new ones: it loads the results that were computed last.
    """
    key = stack.new_key("overview-on-page")
    now = datetime.now(UTC) - timedelta(minutes=1)
    old, new = ([now - timedelta(minutes=5 * steps) for steps in part] for part in (OLD, NEW))
    submit(stack, key, [datetime(2019, 5, 1, 12, tzinfo=UTC), *old])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 1 + len(OLD), lambda: stack.log)
    submit(stack, key, new)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 401, lambda: stack.log)
    return key


def submit(stack: Stack, key: str, times: list[datetime], **labels: str) -> None:
    """Submit a sample for each time."""
    lines = [{"time_stamp": time.isoformat(), "data": [4, 6], "labels": {"unit": "V"} | labels} for time in times]
    assert len(submit_lines(stack, key, lines)) == len(times)


def painted(dashboard: Dashboard) -> list[float]:
    """Return the x positions of the line and the points."""
    return dashboard.painted(".plot canvas", like=".key-point")


def test_the_plot_shows_all_results_although_a_part_is_loaded(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """It says how many are points. A result that is far from the others in time is left out until it is asked for."""
    dashboard.resize(1400)
    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: "300 of 401 results shown as points" in (dashboard.text(".shown") or ""))
    dashboard.wait_for(lambda: "The line shows all 401" in (dashboard.text(".shown") or ""))
    positions = dashboard.wait_for(lambda: painted(dashboard))
    assert min(positions) < 0.2
    assert max(positions) > 0.9
    assert dashboard.text(".unit") == "V"
    assert dashboard.text(".left-out") == "1 result far from the others in time is left out. Show"
    dashboard.press(".left-out button")
    dashboard.wait_for(lambda: not [at for at in painted(dashboard) if 0.2 < at < 0.8])


def test_the_plot_has_the_units_of_all_results_although_a_part_is_loaded(stack: Stack, dashboard: Dashboard) -> None:
    """The values of two units share an axis. A line whose results are not loaded has its own unit."""
    key = stack.new_key("all-units-on-page")
    now = datetime.now(UTC) - timedelta(minutes=1)
    times = [now - timedelta(minutes=5 * steps) for steps in NEW]
    submit(stack, key, times[:50], unit="A", sensor="s1")
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 50, lambda: stack.log)
    submit(stack, key, times, unit="V", sensor="s2")
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 350, lambda: stack.log)

    dashboard.open(stack, "/?lines=sensor", key=key)

    dashboard.wait_for(lambda: dashboard.text(".unit") == "A, V")
    assert "different units. Show only A, V" in (dashboard.text(".shown") or "")
    dashboard.press(".chip", "s1")
    dashboard.wait_for(lambda: dashboard.text(".unit") == "A")
    dashboard.press(".choice span", "Computed at")  # the plot then has the loaded results only
    dashboard.press(".chips button", "Show all")
    dashboard.wait_for(lambda: dashboard.text(".unit") == "V")


def test_a_click_on_a_far_mean_filters_by_its_day(stack: Stack, dashboard: Dashboard, driver: Chrome, key: str) -> None:
    """The other means are of shorter buckets. The result is at noon."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: "per five minutes" in (dashboard.text(".shown") or ""))
    dashboard.press(".left-out button", "Show")
    dashboard.wait_for(lambda: dashboard.text(".left-out button") == "Leave out")
    plot = driver.find_element(By.CSS_SELECTOR, ".plot .u-over")

    to_first = ActionChains(driver).move_to_element_with_offset(plot, 2 - plot.size["width"] // 2, 0)
    to_first.perform()
    dashboard.wait_for(lambda: "2019-05-01 00:00:00, one day" in (dashboard.text(".tooltip") or ""))
    to_first.click().perform()

    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    assert dict(parse_qsl(urlsplit(dashboard.address).query)) == {
        "timestamp.gte": "2019-05-01T00:00:00Z",
        "timestamp.lt": "2019-05-02T00:00:00Z",
    }


def test_the_axis_says_what_it_does_not_show(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The server has no means by the time of computation, and the filter has no such range."""
    dashboard.open(stack, key=key)
    dashboard.press(".means .choice label", "Computed at")

    hint = "the newest results. To see the means of all results, select the axis Time stamp."
    dashboard.wait_for(lambda: hint in (dashboard.text(".shown") or ""))
    dashboard.press(".presets button", "Last hour")
    dashboard.wait_for(lambda: dashboard.text(".shown") == "Click a result to select it.")


@pytest.mark.parametrize(
    ("path", "refused", "length"),
    [
        ("/?timestamp.gte=2020-01-01T00:00Z", '"bucket":"FIVE_MINUTES"', "hour"),
        ("/", '"timestamp":{"gte"', "day"),  # the buckets of all results but an outlier
    ],
    ids=["no outlier", "an outlier in time"],
)
def test_longer_buckets_are_plotted_if_the_server_refuses_short_ones(
    stack: Stack, dashboard: Dashboard, key: str, path: str, refused: str, length: str
) -> None:
    """The server has rollups of hours and days. For others it reads each result, and stops after a time limit."""
    refusal = {"message": "the summary took longer than 25 s", "extensions": {"code": "OPERATION_TOO_COMPLEX"}}
    note = f"mean and standard deviation per {length}. Shorter buckets would take too long to compute."
    dashboard.open(stack, path, key=key)
    dashboard.wait_for(lambda: "The line shows all" in (dashboard.text(".shown") or ""))
    assert note not in (dashboard.text(".shown") or "")
    dashboard.replace_responses(refused, {"errors": [refusal]})

    dashboard.open(stack, path, key=key)

    dashboard.wait_for(lambda: note in (dashboard.text(".shown") or ""))


def test_a_plot_with_too_many_means_says_what_to_select(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """Fifty sensors have more than 20,000 days in 401 days. The message of the server names arguments of GraphQL."""
    refusal = {"message": "choose a longer `bucket`, fewer groups", "extensions": {"code": "OPERATION_TOO_COMPLEX"}}
    dashboard.replace_responses("query OverTime", {"errors": [refusal]})

    dashboard.open(stack, key=key)

    hint = (
        "The server cannot compute all means of this range; select a shorter range, or the value of a label in the "
        "filter."
    )
    dashboard.wait_for(lambda: hint in (dashboard.text(".shown") or ""))


def test_fifty_sensors_have_a_mean_per_hour_of_a_week(stack: Stack, dashboard: Dashboard) -> None:
    """The results of a day have shorter buckets, because not every bucket of every sensor has a result."""
    key = stack.new_key("fifty-sensors-on-page")
    start = datetime(2026, 11, 24, tzinfo=UTC)
    lines = [
        {"time_stamp": (start + timedelta(hours=hour)).isoformat(), "data": [sensor], "labels": {"sensor": str(sensor)}}
        for hour in (*range(24), 6 * 24)
        for sensor in range(50)
    ]
    submit_lines(stack, key, lines)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == len(lines), lambda: stack.log)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".series-select"))

    dashboard.write(".series-select select", "sensor")

    of_all = "The line shows all 1,250 results: mean and standard deviation per hour. To see more detail, drag"
    dashboard.wait_for(lambda: len(dashboard.attributes(".chip", "title")) == 50)
    dashboard.wait_for(lambda: of_all in (dashboard.text(".shown") or ""))
    dashboard.go_to(f"{stack.url}/?timestamp.lt=2026-11-25T00:00:00Z")
    dashboard.wait_for(lambda: dashboard.text(".series-select"))
    dashboard.write(".series-select select", "sensor")
    of_day = "The line shows all 1,200 results: mean and standard deviation per five minutes."
    dashboard.wait_for(lambda: len(dashboard.attributes(".chip", "title")) == 50)
    dashboard.wait_for(lambda: of_day in (dashboard.text(".shown") or ""))


def test_presets_are_ranges_that_end_now(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """A link to a preset selects the results of its last hour. Given times replace it."""
    dashboard.open(stack, "/?last=hour", key=key)
    dashboard.wait_for(lambda: 10 <= len(dashboard.results()) <= 13)
    assert dashboard.attributes(".presets button", "aria-pressed") == ["true", "false", "false", "false"]

    dashboard.press(".presets button", "Last day")
    dashboard.wait_for(lambda: " of 28" in (dashboard.text("[data-arrived]") or ""))
    assert urlsplit(dashboard.address).query == "last=day"
    dashboard.press(".presets button", "All")
    dashboard.wait_for(lambda: " of 401" in (dashboard.text("[data-arrived]") or ""))
    assert urlsplit(dashboard.address).query == ""

    dashboard.open(stack, "/?last=hour&timestamp.lt=2020-01-01T00:00Z", key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    assert dashboard.attributes(".presets button", "aria-pressed") == ["false"] * 4


def test_a_preset_ends_when_the_user_selects_it(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The page may have been open for hours."""
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=SET_CLOCK % -3 + OPEN_FOR_HOURS)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: " of 401" in (dashboard.text("[data-arrived]") or ""))
    dashboard.run("window.difference = 0")

    dashboard.press(".presets button", "Last hour")

    dashboard.wait_for(lambda: 10 <= len(dashboard.results()) <= 13)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_preset_ends_at_the_time_of_the_server(stack: Stack, dashboard: Dashboard, key: str, hours: int) -> None:
    """The clock of the browser can be wrong, and can be corrected while the page is open."""
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=SET_CLOCK % hours)

    dashboard.open(stack, "/?last=hour", key=key)

    dashboard.wait_for(lambda: 10 <= len(dashboard.results()) <= 13)
    dashboard.run("window.difference = 0")
    dashboard.press(".presets button", "All")
    dashboard.wait_for(lambda: " of 401" in (dashboard.text("[data-arrived]") or ""))
    dashboard.press(".presets button", "Last hour")
    dashboard.wait_for(lambda: 10 <= len(dashboard.results()) <= 13)


def test_a_part_of_a_second_is_selected_in_the_plot(stack: Stack, dashboard: Dashboard, driver: Chrome) -> None:
    """Rounded to seconds, the range would be empty."""
    key = stack.new_key("short-range-on-page")
    start = datetime(2026, 11, 24, 1, 2, 3, 100_000, tzinfo=UTC)
    submit(stack, key, [start + timedelta(milliseconds=20 * steps) for steps in range(20)])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 20, lambda: stack.log)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 20)
    plot = driver.find_element(By.CSS_SELECTOR, ".plot .u-over")

    ActionChains(driver).move_to_element(plot).click_and_hold().move_by_offset(60, 0).move_by_offset(
        60, 0
    ).release().perform()

    dashboard.wait_for(lambda: "timestamp.gte=2026-11-24T01%3A02%3A03." in dashboard.address)
    dashboard.wait_for(lambda: 0 < len(dashboard.results()) < 10)


def test_the_newest_results_are_inside_the_plot(stack: Stack, dashboard: Dashboard, driver: Chrome) -> None:
    """The mean of a time bucket is drawn in its middle. Results in the second half of the last bucket are drawn too."""
    key = stack.new_key("newest-in-plot")
    midnight = datetime.combine(datetime.now(UTC), datetime.min.time(), UTC) - timedelta(days=1)
    submit(stack, key, [midnight - timedelta(hours=3 * steps) for steps in range(320)])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 320, lambda: stack.log)
    submit(stack, key, [midnight + timedelta(hours=23, minutes=minute % 50) for minute in range(300)])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 620, lambda: stack.log)
    dashboard.open(stack, key=key)
    note = "The line shows all 620 results: mean and standard deviation per day."
    dashboard.wait_for(lambda: note in (dashboard.text(".shown") or ""))
    plot = driver.find_element(By.CSS_SELECTOR, ".plot .u-over")

    ActionChains(driver).move_to_element_with_offset(plot, plot.size["width"] // 2 - 2, 0).perform()

    dashboard.wait_for(lambda: dashboard.text(".tooltip code"))  # only results have an id

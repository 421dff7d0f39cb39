"""The plot at the boundaries of time: midnight, a change of the clocks, and the last second, in a real browser."""

from datetime import UTC, datetime, timedelta

from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

OUTLIER = datetime(2019, 5, 1, tzinfo=UTC)
COUNT = "{ results(first: 0) { totalCount } }"
KEEP_LABELS = """
    window.labels = [];
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...position) {
        labels.push(text);
        return fillText.call(this, text, ...position);
    };
"""


def submit(stack: Stack, key: str, times: list[datetime]) -> None:
    """Submit a sample for each time, and wait for the results."""
    lines = [{"time_stamp": time.isoformat(), "data": [4, 6]} for time in times]
    assert len(submit_lines(stack, key, lines)) == len(times)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == len(times), lambda: stack.log)


def test_the_length_of_the_buckets_does_not_depend_on_the_time_of_day(stack: Stack, dashboard: Dashboard) -> None:
    """Results of 33 hours, on three days, have buckets of five minutes. Three whole days would have too many."""
    key = stack.new_key("three-days-on-page")
    start = datetime(2026, 11, 30, 15, tzinfo=UTC)
    submit(stack, key, [OUTLIER, *(start + timedelta(minutes=5 * step) for step in range(400))])

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: "mean and standard deviation per five minutes" in (dashboard.text(".shown") or ""))


def test_the_last_second_of_the_year_9999_is_in_the_plot_and_in_ranges(
    stack: Stack, dashboard: Dashboard, driver: Chrome
) -> None:
    """Unknown dates often have this time stamp. The API accepts no later time as the end of a range."""
    key = stack.new_key("last-second-on-page")
    last = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    submit(stack, key, [last - timedelta(minutes=minute) for minute in range(301)])
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: "The line shows all 301" in (dashboard.text(".shown") or ""))
    plot = driver.find_element(By.CSS_SELECTOR, ".plot .u-over")

    to_right = ActionChains(driver).move_to_element(plot).click_and_hold()
    to_right.move_by_offset(plot.size["width"] // 2, 0).release().perform()

    dashboard.wait_for(lambda: "timestamp.lt=9999-12-31T23%3A59%3A59.999Z" in dashboard.address)
    dashboard.wait_for(dashboard.results)
    assert dashboard.run("return document.querySelector('.filter').checkValidity()")


def test_the_first_results_after_midnight_have_short_buckets(stack: Stack, dashboard: Dashboard) -> None:
    """Few results of a day are not far from those of the day before."""
    key = stack.new_key("after-midnight-on-page")
    start = datetime(2026, 11, 30, tzinfo=UTC)
    new = [start + timedelta(minutes=4 * step) for step in range(364)]
    submit(stack, key, [OUTLIER, *new])

    dashboard.open(stack, key=key)

    def means() -> str:
        return dashboard.attributes(".plot [role=img]", "aria-label")[0]

    dashboard.wait_for(lambda: "365 results per five minutes" in means())
    assert " to 2026-12-01 00:12:30, " in means()


def test_the_ticks_are_regular_although_the_clocks_of_the_user_change(stack: Stack, dashboard: Dashboard) -> None:
    """The axis is in UTC. At 01:00 UTC of this day, the clocks of Zurich go forward."""
    key = stack.new_key("clock-change-on-page")
    midnight = datetime(2026, 3, 29, tzinfo=UTC)
    submit(stack, key, [midnight + timedelta(hours=hour) for hour in range(13)])
    dashboard.command("Emulation.setTimezoneOverride", timezoneId="Europe/Zurich")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=KEEP_LABELS)
    dashboard.resize(1400)

    dashboard.open(stack, key=key)

    def ticks() -> list[str]:
        drawn = dashboard.run("return labels.filter((text) => /^[0-9]{2}:[0-9]{2}$/.test(text))")
        return drawn[-drawn[::-1].index("00:00") - 1 :] if "00:00" in drawn else []

    dashboard.wait_for(lambda: len(ticks()) >= 7)
    assert ticks() == [f"{hour:02}:00" for hour in range(0, 13, 2)]


def test_a_range_of_thousands_of_years_has_ticks(stack: Stack, dashboard: Dashboard) -> None:
    """Devices whose clock is not set often send the first or the last time that their language has."""
    key = stack.new_key("thousands-of-years-on-page")
    submit(stack, key, [datetime(1 + 1_111 * step, 1, 1, tzinfo=UTC) for step in range(9)])
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=KEEP_LABELS)
    dashboard.resize(1400)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: {"1000-01-01", "8000-01-01"} <= set(dashboard.run("return labels")))


def test_lines_of_sensors_that_measure_at_the_same_time_are_broken_at_gaps(stack: Stack, dashboard: Dashboard) -> None:
    """Each site has five sensors. No result is between the minutes 10 and 30."""
    key = stack.new_key("same-times-on-page")
    start = datetime(2026, 11, 30, tzinfo=UTC)
    lines = [
        {"time_stamp": (start + timedelta(minutes=minute)).isoformat(), "data": [mean], "labels": {"site": str(mean)}}
        for minute in (*range(11), *range(30, 41))
        for mean in (5, 9)
        for _ in range(5)
    ]
    submit_lines(stack, key, lines)
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == len(lines), lambda: stack.log)
    dashboard.resize(1400)

    dashboard.open(stack, "/?lines=site", key=key)

    dashboard.wait_for(lambda: dashboard.text(".chip") == "5 9")
    positions = dashboard.wait_for(lambda: dashboard.painted(".plot canvas", like=".chip .dot"))
    assert min(positions) < 0.3
    assert max(positions) > 0.7
    assert [each for each in positions if 0.4 < each < 0.6] == []

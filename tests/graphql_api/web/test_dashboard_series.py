"""The lines of the dashboard's plot, one for each value of a label, in a real browser."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack

START = datetime(2026, 11, 24, 1, tzinfo=UTC)
MINUTES = range(12)
WITHOUT_GAP = list(MINUTES)
WITH_GAP = [minute for minute in MINUTES if minute < 4 or minute > 8]

RECORD_TICKS = """
    window.heights = {}; // by the texts of the last drawing
    const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...rectangle) {
        heights = {};
        clearRect.apply(this, rectangle);
    };
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        (heights[text] ??= new Set()).add(y);
        fillText.call(this, text, x, y);
    };
"""
NO_OTHER_SUMMARY = """
    const original = window.fetch;
    window.fetch = (address, options) =>
        String(options?.body).includes('query Summary') ? new Promise(() => {}) : original(address, options);
"""

NO_LONG_PAUSE = """
    const [setTimer, now] = [window.setTimeout, performance.now.bind(performance)];
    performance.now = () => now() / 1e3; // a response takes almost no time, even if the machine is busy
    window.setTimeout = (action, delay) => (delay > 10_000 ? 0 : setTimer(action, delay));
"""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has two sensors with a sample a minute, and a sample without a label."""
    key = stack.new_key("series-on-page")
    labels = {"t10": WITH_GAP, "t2": WITHOUT_GAP}
    ids = [submit(stack, key, minute, len(name), sensor=name) for name, minutes in labels.items() for minute in minutes]
    ids.append(submit(stack, key, 5, 4))
    for sample_id in ids:
        stack.wait_for(sample_id, key=key)
    return key


def submit(stack: Stack, key: str, minute: int, mean: float, **labels: str) -> str:
    """Submit a sample of this minute. Return its id."""
    time_stamp = (START + timedelta(minutes=minute)).isoformat()
    sample_id: str = stack.submit({"time_stamp": time_stamp, "data": [mean], "labels": labels}, key=key)["id"]
    return sample_id


def open_with_lines(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """Open the page and display a line per sensor. Every line is two pixels wide or more, so its color is exact."""
    dashboard.resize(1400)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".series-select"))
    dashboard.write(".series-select select", "sensor")
    dashboard.wait_for(lambda: dashboard.text(".chip") == "t2 t10 no sensor")


def painted(dashboard: Dashboard, chip: int) -> list[float]:
    """Return the x positions where the plot has the color of this chip, counted from 1."""
    return dashboard.painted(".plot canvas", like=f".chip:nth-child({chip}) .dot")


def test_each_value_of_a_label_has_a_line_that_is_broken_at_gaps(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """A line connects results whose distance is usual, and no others."""
    open_with_lines(stack, dashboard, key)

    whole = dashboard.wait_for(lambda: painted(dashboard, 1))
    broken = painted(dashboard, 2)

    first, last = min(whole), max(whole)
    minutes = {
        name: [(position - first) / (last - first) * MINUTES[-1] for position in positions]
        for name, positions in (("whole", whole), ("broken", broken))
    }
    for minute in MINUTES[:-1]:
        middle = (minute + 0.3, minute + 0.7)
        is_drawn = {name: any(middle[0] < at < middle[1] for at in ats) for name, ats in minutes.items()}
        assert is_drawn == {"whole": True, "broken": minute in WITH_GAP and minute + 1 in WITH_GAP}, minute


def test_chips_choose_the_lines(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The pointer finds results of the chosen lines only, and says which line a result belongs to."""
    open_with_lines(stack, dashboard, key)
    dashboard.wait_for(lambda: painted(dashboard, 1) and painted(dashboard, 2))

    dashboard.press(".chip", "t10")

    dashboard.wait_for(lambda: not painted(dashboard, 1))
    assert painted(dashboard, 2)
    assert dashboard.attributes(".chip", "aria-pressed") == ["false", "true", "false"]
    dashboard.point(".plot .u-over")
    dashboard.wait_for(lambda: "3 ± 0 1 value" in (dashboard.text(".tooltip") or ""))
    assert "sensor t10" in (dashboard.text(".tooltip") or "")
    assert dashboard.text(".tooltip code") in {sample_id[:8] for sample_id in dashboard.results()}
    dashboard.press(".plot .u-over")
    dashboard.wait_for(lambda: "sensor t10" in (dashboard.text(".sample .facts") or ""))
    dashboard.press(".chips button", "Show all")
    dashboard.wait_for(lambda: painted(dashboard, 1) and painted(dashboard, 2))


def test_a_value_with_few_results_can_be_chosen_too(stack: Stack, dashboard: Dashboard) -> None:
    """The plot has at most 50 lines, first the chosen ones. A list and a link choose those that have no line."""
    key = stack.new_key("more-lines-on-page")
    sensors = ["a", *(f"s{number:02}" for number in range(50) for _ in range(2))]
    samples = [
        {"time_stamp": (START + timedelta(seconds=second)).isoformat(), "data": [second], "labels": {"sensor": sensor}}
        for second, sensor in enumerate(sensors)
    ]
    submit_lines(stack, key, samples)
    dashboard.open(stack, "/?lines=sensor", key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) and len(dashboard.attributes(".chip", "title")) == 50)
    dashboard.wait_for(lambda: dashboard.text(".chips select") == "1 more a")

    dashboard.write(".chips select", "a")

    dashboard.wait_for(lambda: dashboard.address.endswith("/?lines=sensor&line=a"))
    title = "\u2068a\u2069: 1 result"
    for _ in range(2):
        dashboard.wait_for(lambda: dashboard.attributes(".chip[aria-pressed=true]", "title") == [title])
        dashboard.wait_for(lambda: "a" in (dashboard.text(".summary tbody th") or "").split())
        assert len(dashboard.attributes(".chip", "title")) == 50
        dashboard.go_to(dashboard.address)


def test_each_line_has_its_statistics_and_its_latest_result(stack: Stack, dashboard: Dashboard) -> None:
    """The server computes them from all results. A new result is the latest one at once."""
    key = stack.new_key("summary-on-page")
    for sensor, value in (("a", 10), ("b", 30)):
        for minute in range(3):
            stack.wait_for(submit(stack, key, minute, value + minute, sensor=sensor), key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".summary tbody tr") and dashboard.text(".series-select"))
    assert dashboard.text(".summary tbody th") == "all results"

    dashboard.write(".series-select select", "sensor")

    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "all results a b")
    heads = "sensor Latest mean (UTC) Results Mean Std dev Median 5 % 95 % Minimum Maximum"
    assert dashboard.text(".summary thead") == heads
    assert cells(dashboard, 1)[:2] == ["6", "21"]
    assert cells(dashboard, 2)[:3] == ["3", "11", "0.81650"]
    assert [float(each) for each in cells(dashboard, 3)[3:6]] == pytest.approx([31, 30.1, 31.9], rel=0.01)
    assert cells(dashboard, 3)[6:8] == ["30", "32"]
    assert dashboard.text(".summary tbody time") == "2026-11-24 01:02:00 2026-11-24 01:02:00"
    assert "6 results with 6 values. The error of median and percentiles is at most 1 %." in summary(dashboard)
    dashboard.run(NO_OTHER_SUMMARY)
    new = submit(stack, key, 9, 12, sensor="a")
    dashboard.wait_for(lambda: "01:09:00" in (dashboard.text(".summary tbody time") or ""))
    dashboard.press(".summary tbody button", "12")
    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [new])


def test_the_statistics_follow_a_correction(stack: Stack, dashboard: Dashboard) -> None:
    """It does not change the number of results. The page does not wait for as long as after new results."""
    key = stack.new_key("corrected-summary-on-page")
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=NO_LONG_PAUSE)
    ids = [submit(stack, key, minute, value) for minute, value in enumerate((10, 30))]
    for sample_id in ids:
        stack.wait_for(sample_id, key=key)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: cells(dashboard, 1)[-2:] == ["10", "30"])

    corrected = {"time_stamp": START.isoformat(), "data": [20]}
    stack.post_sample(json.dumps(corrected).encode(), x_api_key=key, x_supersedes=ids[1])

    dashboard.wait_for(lambda: cells(dashboard, 1)[-2:] == ["10", "20"])
    assert "2 results with 2 values." in summary(dashboard)


def test_a_deviation_that_is_not_drawn_does_not_flatten_the_lines(stack: Stack, dashboard: Dashboard) -> None:
    """Several lines have no bands, so the deviation of a result near the largest double has no effect on the axis."""
    key = stack.new_key("wild-deviation")
    ids = [submit(stack, key, minute, mean, sensor=f"s{mean}") for mean in (1, 2) for minute in MINUTES]
    wild = {"time_stamp": START.isoformat(), "data": [-1.7e308, 1.7e308], "labels": {"sensor": "wild"}}
    for sample_id in [*ids, stack.submit(wild, key=key)["id"]]:
        stack.wait_for(sample_id, key=key)
    dashboard.resize(1400)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".series-select"))
    dashboard.write(".series-select select", "sensor")
    dashboard.wait_for(lambda: dashboard.text(".chip") == "s1 s2 wild")

    heights = [dashboard.painted(".plot canvas", like=f".chip:nth-child({chip}) .dot", axis="y") for chip in (1, 2)]

    assert min(heights[0]) - max(heights[1]) > 0.2


def test_a_mean_that_is_far_from_the_others_does_not_flatten_the_lines(stack: Stack, dashboard: Dashboard) -> None:
    """The page says that it is left out, and shows it if the user wants it."""
    key = stack.new_key("far-mean-on-page")
    ids = [submit(stack, key, minute, mean, sensor=f"s{mean}") for mean in (1, 2) for minute in MINUTES]
    ids.append(submit(stack, key, 3, 1e308, sensor="s2"))
    for sample_id in ids:
        stack.wait_for(sample_id, key=key)
    dashboard.resize(1400)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".series-select"))
    dashboard.write(".series-select select", "sensor")
    dashboard.wait_for(lambda: dashboard.text(".chip") == "s1 s2")

    def distance() -> float:
        heights = [dashboard.painted(".plot canvas", like=f".chip:nth-child({chip}) .dot", axis="y") for chip in (1, 2)]
        return min(heights[0]) - max(heights[1]) if all(heights) else 0

    dashboard.wait_for(lambda: dashboard.text(".left-out") == "1 mean far from the others is left out. Show")
    assert distance() > 0.2
    dashboard.press(".left-out button")
    dashboard.wait_for(lambda: dashboard.text(".left-out") == "1 mean far from the others is shown. Leave out")
    dashboard.wait_for(lambda: distance() < 0.1)


def test_ticks_of_close_values_are_different(stack: Stack, dashboard: Dashboard) -> None:
    """Six digits are too few for the pressure of the air in pascals, which changes by less than one."""
    key = stack.new_key("pressure-on-page")
    for minute in MINUTES:
        sample_id = submit(stack, key, minute, 101_325 + minute / 20, sensor="p")
    stack.wait_for(sample_id, key=key)
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=RECORD_TICKS)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == len(MINUTES))

    ticks = "return Object.entries(heights).filter(([text]) => text.startsWith('101,')).map(([, set]) => set.size)"
    dashboard.wait_for(lambda: sum(dashboard.run(ticks)) > 3)
    assert set(dashboard.run(ticks)) == {1}


def test_results_with_different_units_are_different_lines(stack: Stack, dashboard: Dashboard) -> None:
    """By default: the user can select other lines. With a unit in the filter, one line is enough."""
    key = stack.new_key("units-on-page")
    for unit in ("V", "A"):
        stack.wait_for(submit(stack, key, 1, 5, unit=unit), key=key)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: dashboard.text(".chip") == "A V")
    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "A V")  # a mean of both has no meaning
    dashboard.write(".series-select select", "no label")
    dashboard.wait_for(lambda: dashboard.text(".chip") is None)
    dashboard.wait_for(lambda: "different units. Show only A, V" in (dashboard.text(".shown") or ""))
    dashboard.press(".shown button", "V")
    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    dashboard.wait_for(lambda: dashboard.address.endswith("/?label.unit=V&lines="))
    assert dashboard.text(".chip") is None
    assert "Show only" not in (dashboard.text(".shown") or "")


def summary(dashboard: Dashboard) -> str:
    """Return the text below the statistics."""
    return dashboard.text(".summary > .hint") or ""


def cells(dashboard: Dashboard, row: int) -> list[str]:
    """Return the statistics in a row, counted from 1."""
    return (dashboard.text(f".summary tbody tr:nth-child({row}) td:nth-child(n + 3)") or "").split()


def test_a_label_with_too_many_values_has_one_summary(stack: Stack, dashboard: Dashboard) -> None:
    """The server refuses more than 1,000 separate summaries. The page says why it displays none of them."""
    key = stack.new_key("many-values-on-page")
    sample = {"time_stamp": "2026-11-24T01:02:03Z", "data": [1], "labels": {"sensor": "0"}}
    stack.wait_for(stack.submit(sample, key=key)["id"], key=key)
    dashboard.replace_responses("labelValues", {"data": {"_sensor": [str(number) for number in range(1_000)]}})
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".series-select"))

    dashboard.write(".series-select select", "sensor")

    reason = "The label sensor has too many values for statistics of each value."
    dashboard.wait_for(lambda: reason in (dashboard.text(".summary") or ""))
    dashboard.wait_for(lambda: dashboard.text(".summary tbody th") == "all results")
    assert "Latest mean" not in (dashboard.text(".summary thead") or "")

"""The layout of the dashboard on screens of several widths, in both themes, in a real browser."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.graphql_api.web.dashboard import AXE, Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

START = datetime(2026, 11, 24, 1, tzinfo=UTC)
RANGE = "timestamp.gte=2026-11-24T00:59:58Z&timestamp.lt=2026-11-24T23:59:58Z"
COUNT = "{ results(first: 0) { totalCount } }"
WIDTHS = "return [...document.querySelectorAll(arguments[0])].map((each) => [each.scrollWidth, each.clientWidth])"


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has more results than a page loads, of many sensors and two units, and a problem."""
    key = stack.new_key("layout-on-page", "submit,read,admin")
    lines: list[object] = [
        {
            "time_stamp": (START + timedelta(minutes=minute)).isoformat(),
            "data": [minute, None, -1234.5678 * minute],
            "missing": "skip",
            "labels": {
                "sensor": f"sensor-{'number' * 9}-{minute % 12}",
                "unit": "mV"[minute % 2 :],
                "calibration_certificate": "7",
            },
        }
        for minute in range(320)
    ]
    submit_lines(stack, key, [{"data": [True]}, *lines])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 320, lambda: stack.log)
    return key


@pytest.mark.skipif(not AXE.exists(), reason="needs `npm ci` in tests/graphql_api/audit")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280, 1440])
def test_everything_fits_and_is_accessible(
    stack: Stack, dashboard: Dashboard, key: str, tmp_path: Path, width: int, scheme: str
) -> None:
    """Filter, long labels, chips, overview, statistics per line, a failed upload and the question before a deletion."""
    dashboard.resize(width)
    dashboard.prefer(scheme)
    dashboard.open(stack, f"/?{RANGE}", key=key)
    dashboard.wait_for(lambda: dashboard.text(".chip") == "mV V")
    dashboard.write(".series-select select", "sensor")
    dashboard.wait_for(lambda: "The line shows all 320" in (dashboard.text(".shown") or ""))
    dashboard.wait_for(lambda: len(dashboard.attributes(".summary tbody tr", "class")) == 12)
    dashboard.wait_for(lambda: dashboard.text("select[name='label.sensor']"))
    dashboard.wait_for(lambda: dashboard.text(".problems li") and dashboard.text(".histogram figcaption"))
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("value\n1\n")
    dashboard.write("input[type=file]", str(wrong))
    dashboard.wait_for(lambda: dashboard.text(".file.refused"))

    assert_fits(dashboard)
    page = dashboard.violations()
    dashboard.press(".sample .actions button", "Delete")
    dashboard.wait_for(lambda: dashboard.text("dialog h2"))
    assert_fits(dashboard)
    assert [page, dashboard.violations()] == [[], []]


@pytest.mark.parametrize("width", [1000, 1440])
def test_the_menu_of_columns_says_which_columns_are_displayed(
    stack: Stack, dashboard: Dashboard, key: str, width: int
) -> None:
    """A window that has no room for all columns displays fewer of them."""
    dashboard.resize(width)
    dashboard.open(stack, f"/?{RANGE}", key=key)
    dashboard.wait_for(lambda: dashboard.text(".results thead th"))

    dashboard.press(".menu summary")

    checked = "return [...document.querySelectorAll('.menu label:has(:checked)')].length"
    headings = (
        "return [...document.querySelectorAll('.results thead th')].filter((each) => each.checkVisibility()).length"
    )
    dashboard.wait_for(lambda: "Labels" in (dashboard.text(".menu fieldset") or ""))
    assert dashboard.run(checked) + 1 == dashboard.run(headings)  # the time stamp is always displayed

    dashboard.write(".menu input", Keys.ESCAPE)
    dashboard.wait_for(lambda: dashboard.text(".menu fieldset") == "")


def assert_fits(dashboard: Dashboard) -> None:
    """Assert that no card covers another one, and that window and fields for times do not cut off their content."""
    [[page, window]] = dashboard.run(WIDTHS, "html")
    assert page <= window
    boxes = dashboard.run(WIDTHS, ".card, .facts dt")
    assert len(boxes) >= 10
    assert all(content <= visible for content, visible in boxes), boxes
    times = dashboard.run(WIDTHS, "input[type='datetime-local']")
    assert len(times) == 2
    assert all(0 < content <= visible for content, visible in times), times


def test_forced_colors_keep_the_colors_of_lines_and_show_what_is_selected(
    stack: Stack, dashboard: Dashboard, key: str
) -> None:
    """A browser replaces all other colors and backgrounds, for users who need a high contrast."""
    dashboard.command("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    dashboard.resize(1440)
    dashboard.open(stack, f"/?{RANGE}", key=key)
    dashboard.wait_for(lambda: dashboard.text(".chip") == "mV V")

    dashboard.press(".chip", "mV")

    dots = "return [...document.querySelectorAll('.chip .dot')].map((each) => getComputedStyle(each).backgroundColor)"
    assert len(set(dashboard.run(dots))) == 2
    dashboard.wait_for(lambda: dashboard.painted(".plot canvas", like=".chip:nth-child(1) .dot"))
    outline = "return getComputedStyle(document.querySelector(arguments[0])).outlineStyle"
    for selected in (".chip[aria-pressed=true]", ".results .displayed"):
        assert dashboard.run(outline, selected) == "solid"
    assert dashboard.run(outline, ".results tbody tr:not(.displayed)") == "none"


def test_the_labels_of_an_axis_fit_when_the_ratio_of_pixels_changes(stack: Stack, dashboard: Dashboard) -> None:
    """It changes with the zoom of the browser, and when the window moves to another screen."""
    key = stack.new_key("pixels-on-page")
    submit_lines(stack, key, [{"time_stamp": START.isoformat(), "data": [value]} for value in (1e6, 2e6)])
    left = "return document.querySelector('.plot .u-over').offsetLeft"
    dashboard.resize(1400, ratio=1)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 2)
    dashboard.wait_for(lambda: dashboard.run(left) > 60)
    before = dashboard.run(left)

    dashboard.resize(1400, ratio=3)
    dashboard.command("Page.captureScreenshot")  # makes the browser evaluate its media queries

    dashboard.wait_for(lambda: dashboard.run("return document.querySelector('.plot canvas').width > 1400"))
    assert dashboard.run(left) == before

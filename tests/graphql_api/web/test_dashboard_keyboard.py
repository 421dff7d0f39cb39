"""The dashboard by keyboard and with a screen reader: focus, dialogs and announced texts, in a real browser."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from selenium.webdriver.common.keys import Keys

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack, eventually

RESULTS = 80
COUNT = "{ results(first: 0) { totalCount } }"
FOCUSED = "return document.activeElement?.matches(arguments[0]) ?? false"
TEXT = "return document.querySelector('textarea')?.value"
LATE = """
    window.held = [];
    const immediate = window.fetch;
    window.fetch = async (address, options) => {
        const isHeld = String(address).startsWith('/results?') || options?.method === 'DELETE';
        if (isHeld) await new Promise((release) => held.push(release));
        return immediate(address, options);
    };
"""


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    """Return a key whose submitter has three pages of results of two sites."""
    key = stack.new_key("keyboard-on-page", "submit,read,admin")
    start = datetime.now(UTC) - timedelta(hours=2)
    submit_lines(
        stack,
        key,
        [
            {
                "time_stamp": (start + timedelta(minutes=minute)).isoformat(),
                "data": [minute],
                "labels": {"site": "bern" if minute < 3 else "zurich"},
            }
            for minute in range(RESULTS)
        ],
    )
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == RESULTS, lambda: stack.log)
    return key


def has_focus(dashboard: Dashboard, selector: str) -> bool:
    """Return whether the focused element matches."""
    return bool(dashboard.run(FOCUSED, selector))


def announced(dashboard: Dashboard) -> str:
    """Return the last text of the page for screen readers."""
    return str(dashboard.run("return document.querySelector('p[role=status].unseen').textContent"))


def wait_for_rows(dashboard: Dashboard, count: int) -> None:
    """Wait until the table of results has this number of rows."""
    dashboard.wait_for(lambda: len(dashboard.results()) == count)


def plot_text(dashboard: Dashboard) -> str:
    """Return the text of the plot for screen readers."""
    return dashboard.attributes(".plot [role=img]", "aria-label")[0]


def test_a_button_keeps_the_focus_while_it_loads(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The key Enter loads page after page. A disabled button would lose the focus."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: len(dashboard.results()) == 25)

    for rows in (50, 75):
        dashboard.write(".more", Keys.ENTER)
        wait_for_rows(dashboard, rows)
        assert has_focus(dashboard, ".more")
    dashboard.write("[name='count.gte']", "1")
    dashboard.wait_for(lambda: "count.gte=1" in dashboard.address)
    dashboard.write("button[type=reset]", Keys.ENTER)
    dashboard.wait_for(lambda: dashboard.attributes("button[type=reset]", "aria-disabled") == ["true"])
    assert has_focus(dashboard, "button[type=reset]")


def test_the_order_of_the_focus_is_the_order_on_the_screen(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """A narrow window, or a zoom of 200 %, has one column."""
    dashboard.resize(720)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.results())

    tops = dashboard.run(
        "return [...document.querySelectorAll('main .card')].map((e) => e.getBoundingClientRect().top)"
    )

    assert tops == sorted(tops)
    assert len(tops) == 7


def test_the_focus_stays_in_a_dialog_that_failed_and_then_moves_to_the_sample(
    stack: Stack, dashboard: Dashboard, key: str
) -> None:
    """The button that opened the dialog belongs to a sample that does not exist any more."""
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=LATE)
    wrong = stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}, key=key)["id"]
    stack.wait_for(wrong, key=key)
    dashboard.open(stack, f"/?sample={wrong}", key=key)
    dashboard.wait_for(lambda: dashboard.attributes(".sample code.hint", "title") == [wrong])
    dashboard.write(".sample .actions .danger", Keys.ENTER)
    dashboard.wait_for(lambda: has_focus(dashboard, "dialog *"))

    dashboard.write("dialog button[type=submit]", Keys.ENTER)
    dashboard.wait_for(lambda: dashboard.run("return held.length") == 1)
    assert dashboard.text("dialog button[type=submit]") == "Deleting…"
    dashboard.set_offline(True)
    dashboard.run("held.pop()()")
    dashboard.wait_for(lambda: dashboard.text("dialog [role=alert]") == "The server does not respond.")
    assert has_focus(dashboard, "dialog button[type=submit]")
    dashboard.set_offline(False)
    dashboard.write("dialog button[type=submit]", Keys.ENTER)
    dashboard.wait_for(lambda: dashboard.run("return held.length") == 1)
    dashboard.run("held.pop()()")

    dashboard.wait_for(lambda: dashboard.text("dialog") is None)
    assert has_focus(dashboard, "#sample-title")
    assert announced(dashboard) == f"The sample {wrong[:8]} is deleted."


def test_escape_closes_the_editor_and_keeps_the_text(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """The focus returns to the button. After a correction, it moves to the title of the sample."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".sample .actions"))
    dashboard.press(".sample .actions button", "Correct")
    original = dashboard.wait_for(lambda: dashboard.run(TEXT))
    edited = json.dumps({**json.loads(original), "data": [-1]})
    dashboard.write("textarea", f"{Keys.CONTROL}a{Keys.NULL}{edited}")

    dashboard.write("textarea", Keys.ESCAPE)

    dashboard.wait_for(lambda: dashboard.text("dialog") is None)
    assert dashboard.run("return document.activeElement.textContent") == "Correct"
    dashboard.press(".sample .actions button", "Correct")
    dashboard.wait_for(lambda: dashboard.run(TEXT) == edited)
    dashboard.write("dialog button[type=submit]", Keys.ENTER)
    dashboard.wait_for(lambda: dashboard.text("dialog") is None)
    assert has_focus(dashboard, "#sample-title")
    dashboard.wait_for(
        lambda: "Computed" in str(dashboard.run("return document.querySelector('.sample [role=status]').textContent"))
    )


@pytest.mark.parametrize("view", ["/", "/?state=REJECTED"])
def test_the_focus_stays_at_a_table_whose_rows_leave(stack: Stack, dashboard: Dashboard, view: str) -> None:
    """Results that arrive push older rows out. Without a focus, the key Tab would start at the top of the page."""
    key = stack.new_key(f"leaving-rows-on-page-{len(view)}")
    values = [1] if view == "/" else ["a"]
    samples = [{"time_stamp": f"2026-11-24T01:02:{second:02}Z", "data": values} for second in range(51)]
    submit_lines(stack, key, samples[:1])
    dashboard.open(stack, view, key=key)
    dashboard.wait_for(lambda: dashboard.attributes("#results tbody tr", "data-id"))
    dashboard.run("document.querySelector('#results tbody button').focus()")

    submit_lines(stack, key, samples[1:])

    dashboard.wait_for(lambda: has_focus(dashboard, "#results"))


def test_a_screen_reader_learns_what_the_page_has_found(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """It announces a change of the text in a live region. The same text is announced again if its element is new."""
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text("select[name='label.site']"))
    dashboard.write("select[name='label.site']", "bern")
    dashboard.wait_for(lambda: announced(dashboard) == "3 results with this filter.")
    dashboard.press("button[type=reset]")
    dashboard.wait_for(lambda: announced(dashboard).endswith(" results without a filter."))
    dashboard.run("window.element = document.querySelector('p[role=status].unseen > *')")
    dashboard.press(".count.rejected button")
    dashboard.wait_for(lambda: announced(dashboard) == "0 samples with this filter.")
    assert not dashboard.run("return window.element.isConnected")

    dashboard.write(".find input", f"unknown{Keys.ENTER}")

    missing = "No sample has this id. It may have expired."
    dashboard.wait_for(lambda: dashboard.text(".sample [role=status]") == missing)


def test_the_text_of_the_plot_is_about_what_it_shows(stack: Stack, dashboard: Dashboard) -> None:
    """If the page has loaded a part of the results, the line shows all of them."""
    key = stack.new_key("text-of-plot")
    now = datetime.now(UTC)
    times = [now - timedelta(minutes=minute) for minute in range(320)]
    submit_lines(stack, key, [{"time_stamp": time.isoformat(), "data": [7]} for time in times])
    eventually(lambda: stack.graphql(COUNT, key=key)["results"]["totalCount"] == 320, lambda: stack.log)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: plot_text(dashboard).startswith("Means of 320 results per minute in 1 line from "))
    assert f"{times[-1]:%Y-%m-%d %H:%M}" in plot_text(dashboard)


def test_a_download_that_takes_long_is_displayed(stack: Stack, dashboard: Dashboard, key: str) -> None:
    """A user who does not see that it has started would start it again."""
    dashboard.command("Page.addScriptToEvaluateOnNewDocument", source=LATE)
    dashboard.open(stack, key=key)
    dashboard.wait_for(lambda: dashboard.text(".downloads"))

    dashboard.press(".downloads button", "CSV")
    dashboard.wait_for(lambda: "CSV, downloading… NDJSON" in (dashboard.text(".downloads") or ""))
    dashboard.press(".downloads button", "CSV")
    assert dashboard.run("return held.length") == 1
    assert announced(dashboard) == "Downloading…"
    dashboard.run("held.pop()()")

    dashboard.wait_for(lambda: announced(dashboard) == "The file results.csv is downloaded.")
    dashboard.wait_for(lambda: (dashboard.text(".downloads") or "").endswith("CSV NDJSON"))

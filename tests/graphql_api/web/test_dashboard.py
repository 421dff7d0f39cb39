"""The dashboard in a real browser, against the running stack."""

import json
import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.graphql_api.web.dashboard import AXE, Dashboard
from tests.graphql_api.web.graphiql import GraphiQL
from tests.stack import Stack, eventually

GOOD = {"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.5, 1.5, 4.0]}
BAD = {"time_stamp": "2019-05-01T06:00:00", "data": [0.5, True]}


def ndjson(folder: Path, *samples: object) -> Path:
    """Return a file with one sample per line."""
    file = folder / "samples.ndjson"
    file.write_text("".join(f"{json.dumps(sample)}\n" for sample in samples))
    return file


def test_dropped_file_is_submitted_without_requests_to_other_hosts(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """Each line has an outcome. The table contains the results, and problems are listed. The console is empty."""
    key = stack.key
    dashboard.open(stack)
    before = dashboard.results()

    dashboard.drop(ndjson(tmp_path, GOOD | {"run": uuid4().hex}, BAD, GOOD | {"run": uuid4().hex}))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "2 computed, 1 rejected")
    new = dashboard.wait_for(lambda: ids if len(ids := set(dashboard.results()) - set(before)) == 2 else None)
    assert {stack.sample(sample_id)["state"] for sample_id in new} == {"COMPUTED"}
    assert "$.data[1] expected a number, got a boolean" in (dashboard.text(".lines") or "")
    dashboard.wait_for(lambda: "$.data[1] expected a number" in (dashboard.text(".problems") or ""))
    dashboard.wait_for(lambda: re.fullmatch(r"[1-9][\d,]*", dashboard.text(".count.rejected .value") or ""))
    dashboard.wait_for(
        lambda: (dashboard.text(".retention") or "").startswith(
            "All times are in UTC. Samples submitted now are kept forever"
        )
    )
    assert dashboard.hosts() == {urlsplit(stack.url).netloc}
    assert dashboard.console() == []  # it would contain violations of the Content-Security-Policy
    assert key not in dashboard.address


def test_the_retention_of_hourly_statistics_is_displayed(stack: Stack, dashboard: Dashboard) -> None:
    """With that of samples and results, as `dropzone retention` sets it."""
    key = stack.new_key("hourly-on-the-page", "submit,read,admin")
    kept = "{ setRetention(sampleDays: 30, resultDays: 90, hourly: { days: null }) { isDefault } }"
    stack.graphql(f"mutation {kept}", key=key)

    dashboard.open(stack, key=key)

    expected = "Samples submitted now are kept for 30 days, their results for 90 days, their hourly statistics forever."
    dashboard.wait_for(lambda: (dashboard.text(".retention") or "").endswith(expected))


def test_chosen_file_is_submitted_and_displayed(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """A JSON file over several lines is one sample. The newest sample is displayed with statistics and histogram."""
    file = tmp_path / "sample.json"
    file.write_text(json.dumps({"time_stamp": "2026-11-24T01:02:03Z", "data": [7.25, 7.5]}, indent=2))
    dashboard.open(stack)

    dashboard.write("input[type=file]", str(file))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed")
    dashboard.wait_for(lambda: "Mean 7.375" in (dashboard.text(".sample .numbers") or ""))
    assert "2 values" in dashboard.attributes(".histogram svg", "aria-label")[0]


def test_histogram_of_equal_values_has_a_wide_bar(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The line of the mean must not cover it."""
    dashboard.open(stack)

    dashboard.drop(ndjson(tmp_path, GOOD | {"data": [7.75, 7.75]}))

    dashboard.wait_for(lambda: "Mean 7.75" in (dashboard.text(".sample .numbers") or ""))
    [width] = dashboard.attributes(".histogram .bin", "width")
    assert float(width) > 20


def test_long_file_is_sent_in_parts(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Line numbers continue across parts. A line that is longer than a part is submitted too."""
    long = {"time_stamp": "2026-11-24T01:02:03Z", "data": [0.123456789] * 150_000}
    dashboard.open(stack)

    dashboard.drop(ndjson(tmp_path, GOOD, long, GOOD, *[long] * 2, BAD))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "5 computed, 1 rejected")
    assert dashboard.text(".line-number") == "6 1 2 3 4 5"


def test_file_with_samples_is_never_displayed_as_empty(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """This holds between the last part and the outcome too."""
    dashboard.open(stack)
    dashboard.run(
        "window.texts = new Set();"
        "new MutationObserver(() => texts.add(document.querySelector('.outcome')?.textContent))"
        ".observe(document.body, { subtree: true, childList: true, characterData: true })"
    )

    dashboard.drop(ndjson(tmp_path, GOOD, GOOD))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "2 computed")
    texts = dashboard.run("return [...texts]")
    assert "2 computed" in texts
    assert "no samples in this file" not in texts


def test_deviations_near_the_largest_double_are_drawn(stack: Stack, dashboard: Dashboard) -> None:
    """The width of the band exceeds the largest double."""
    largest = {"time_stamp": "1999-01-01T00:00:00Z", "data": [-1.7e308, 1.7e308]}
    stack.wait_for(stack.submit(largest)["id"])

    dashboard.open(stack, "/?timestamp.lt=2000-01-01T00:00:00Z")

    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    painted = dashboard.wait_for(lambda: dashboard.painted(".plot canvas", like=".key-point"))
    assert all(0.4 < position < 0.6 for position in painted)  # a single result is in the middle
    dashboard.write("[name='mean.gte']", "1")
    dashboard.wait_for(lambda: dashboard.results() == [])
    assert not dashboard.run(
        "return document.querySelector('.plot canvas').checkVisibility({ visibilityProperty: true })"
    )


def test_stream_survives_restarts(own_stack: Stack, dashboard: Dashboard) -> None:
    """The API is killed, then the whole stack is stopped. No result or deletion is missing, and none is repeated."""
    stack = own_stack
    first = stack.submit(GOOD)["id"]
    stack.wait_for(first)
    dashboard.open(stack)
    assert dashboard.wait_for(dashboard.results) == [first]
    sent = [stack.submit(GOOD)["id"] for _ in range(20)]
    dashboard.wait_for(lambda: dashboard.arrived() > 0)

    sockets = dashboard.sockets()
    killed = stack.api_pid()
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: stack.pids_of("-m graphql_api") not in ([], [killed]) and stack.is_ready(), lambda: stack.log)
    sent += [stack.submit(GOOD)["id"] for _ in range(20)]
    dashboard.wait_for(lambda: dashboard.sockets() > sockets)
    stack.stop()
    dashboard.wait_for(lambda: dashboard.text(".connection") == "Reconnecting")
    stack.start()
    stack.graphql('mutation ($id: ID!) { deleteSamples(ids: [$id], reason: "") { id } }', {"id": first})
    sent += [stack.submit(GOOD)["id"] for _ in range(5)]

    dashboard.wait_until_live()
    dashboard.wait_for(lambda: dashboard.arrived() >= len(sent))
    dashboard.press(".more")
    dashboard.wait_for(lambda: len(dashboard.results()) >= len(sent) and first not in dashboard.results())
    assert sorted(dashboard.results()) == sorted(sent)
    assert sorted(dashboard.watched()) == sorted(sent)


def test_filter_is_in_the_address_the_download_and_the_link_to_graphiql(
    stack: Stack, dashboard: Dashboard, driver: Chrome
) -> None:
    """The link opens GraphiQL with the query and its variables. It does not contain the key."""
    for mean in (4100.0, 4200.0):
        stack.wait_for(stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [mean]})["id"])
    dashboard.open(stack, "/?mean.gte=4000&mean.lte=4300")
    dashboard.wait_for(lambda: len(dashboard.results()) == 2)

    dashboard.write("[name='mean.lte']", f"{Keys.CONTROL}a{Keys.NULL}4150")

    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    assert urlsplit(dashboard.address).query == "mean.gte=4000&mean.lte=4150"
    dashboard.press(".downloads button", "CSV")
    download = "/results?mean.gte=4000&mean.lte=4150&format=csv"
    dashboard.wait_for(lambda: dashboard.statuses(download) == [200])
    [link] = dashboard.attributes("nav a", "href")
    assert stack.key not in link
    dashboard.press("nav a")
    graphiql = GraphiQL(driver)
    graphiql.wait_until_usable()
    graphiql.play()
    graphiql.wait_for_response('"mean": 4100')
    assert "4200" not in graphiql.response()
    assert graphiql.text(".graphiql-tab-button") == (
        "Results LatestResults SubmitSample SubmitMany ResultsInRange Summary ByLabel WatchResults OneSample"
    )


def test_a_corrected_sample_is_not_displayed_as_pending(stack: Stack, dashboard: Dashboard) -> None:
    """It has a result, which the number of computed samples leaves out."""
    key = stack.new_key("corrected-on-page")
    correct = "mutation ($sample: RawSample!, $id: ID!) { submit(sample: $sample, supersedes: $id) { id } }"
    wrong = stack.submit_fixture(key=key)["id"]
    right = stack.graphql(correct, {"sample": GOOD, "id": wrong}, key=key)["submit"]["id"]
    stack.wait_for(right, key=key)
    stack.wait_for(wrong, "SUPERSEDED", key=key)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: dashboard.text(".count.computed .value") == "1")
    assert dashboard.text(".count.pending .value") == "0"


@pytest.mark.skipif(not AXE.exists(), reason="needs `npm ci` in tests/graphql_api/audit")
def test_page_is_accessible(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """axe-core finds no serious violation: in both themes, menu, editor, list of samples and key form."""
    dashboard.open(stack)
    dashboard.drop(ndjson(tmp_path, GOOD, BAD))
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed, 1 rejected")
    dashboard.wait_for(lambda: dashboard.text(".problems time"))
    dashboard.wait_for(lambda: dashboard.text(".histogram figcaption"))
    dashboard.press(".menu summary")
    dashboard.prefer("light")
    light = dashboard.violations()
    background = dashboard.run("return getComputedStyle(document.documentElement).backgroundColor")
    dashboard.prefer("dark")
    dark = dashboard.violations()
    assert dashboard.run("return getComputedStyle(document.documentElement).backgroundColor") != background

    dashboard.press(".sample .actions button", "Correct")
    dashboard.wait_for(lambda: dashboard.run("return document.querySelector('textarea').value"))
    editor = dashboard.violations()
    dashboard.press("dialog button", "Cancel")
    dashboard.run("scrollTo(0, 0)")  # the header covers the top of the window
    dashboard.press(".count.rejected button")
    dashboard.wait_for(lambda: dashboard.text("#samples-title") and dashboard.text(".results tbody tr"))
    samples = dashboard.violations()
    dashboard.press("nav button", "Sign out")
    dashboard.wait_for(lambda: dashboard.text("h1") == "Enter an API key")
    assert [light, dark, editor, samples, dashboard.violations()] == [[], [], [], [], []]


def test_table_is_usable_by_keyboard(stack: Stack, dashboard: Dashboard) -> None:
    """Each row has a button. The arrow keys move between rows and select the sample."""
    for mean in (1.0, 2.0):
        stack.wait_for(stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [mean]})["id"])
    dashboard.open(stack)
    dashboard.wait_for(lambda: len(dashboard.results()) >= 2)

    dashboard.write(".results tbody tr:first-child button", "\ue007")  # Enter
    dashboard.write(".results tbody tr:first-child button", "\ue015")  # arrow down

    dashboard.wait_for(lambda: dashboard.attributes("tr.displayed", "data-id") == dashboard.results()[1:2])
    assert dashboard.text("#sample-title") == "Selected sample"


def test_skip_link_scrolls_below_the_header(stack: Stack, dashboard: Dashboard) -> None:
    """The header is fixed and must not cover the target."""
    dashboard.command("Emulation.setDeviceMetricsOverride", width=360, height=120, deviceScaleFactor=1, mobile=True)
    dashboard.open(stack)

    dashboard.write(".skip", "\ue007")  # Enter

    dashboard.wait_for(lambda: dashboard.address.endswith("#results"))
    edge = "return document.querySelector(arguments[0]).getBoundingClientRect()[arguments[1]]"
    assert dashboard.run(edge, "#results", "top") >= dashboard.run(edge, "header", "bottom")


def test_selected_theme_survives_a_reload(stack: Stack, dashboard: Dashboard) -> None:
    """It overrides that of the system."""
    dashboard.prefer("light")
    dashboard.open(stack)

    dashboard.press("nav button[aria-label^='Theme: system']")
    dashboard.press("nav button[aria-label^='Theme: light']")

    dashboard.open(stack)
    assert dashboard.run("return getComputedStyle(document.documentElement).colorScheme") == "dark"

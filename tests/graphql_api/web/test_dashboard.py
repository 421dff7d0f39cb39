"""What a user of the dashboard sees and does, in a real browser against the running stack."""

import json
import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from graphql_api.web.pages import DASHBOARD_FOLDER
from tests.graphql_api.web.dashboard import AXE, Dashboard
from tests.graphql_api.web.graphiql import GraphiQL
from tests.stack import Stack, eventually

pytestmark = pytest.mark.skipif(
    not (DASHBOARD_FOLDER / "dist" / "page.html").exists(), reason="needs the page as npm builds it"
)

GOOD = {"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.5, 1.5, 4.0]}
BAD = {"time_stamp": "2019-05-01T06:00:00", "data": [0.5, True]}


def ndjson(folder: Path, *samples: object) -> Path:
    """Return a file with a sample on each line."""
    file = folder / "samples.ndjson"
    file.write_text("".join(f"{json.dumps(sample)}\n" for sample in samples))
    return file


def test_a_file_dragged_onto_the_page_appears_computed_and_no_other_host_is_asked(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """Each line has its outcome, results stand in the table, what is wrong is shown; the console has nothing to say."""
    key = stack.key
    dashboard.open(stack.url)
    before = dashboard.results()

    dashboard.drop(ndjson(tmp_path, GOOD, BAD, GOOD))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "2 computed, 1 rejected")
    new = dashboard.wait_for(lambda: fresh if len(fresh := set(dashboard.results()) - set(before)) == 2 else None)
    assert {stack.sample(sample_id)["state"] for sample_id in new} == {"COMPUTED"}
    assert "$.data[1] expected a number, got a boolean" in (dashboard.text(".lines") or "")
    dashboard.wait_for(lambda: "$.data[1] expected a number" in (dashboard.text(".problems") or ""))
    dashboard.wait_for(lambda: re.fullmatch(r"[1-9]\d*", dashboard.text(".figure.rejected .value") or ""))
    assert dashboard.hosts() == {urlsplit(stack.url).netloc}
    assert dashboard.console() == []  # a violation of the Content-Security-Policy would be here
    assert key not in dashboard.address


def test_a_file_can_be_chosen_and_its_statistics_are_shown(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """One sample as JSON, over several lines; the newest sample is shown in full, with its histogram."""
    file = tmp_path / "sample.json"
    file.write_text(json.dumps({"time_stamp": "2026-11-24T01:02:03Z", "data": [7.25, 7.5]}, indent=2))
    dashboard.open(stack.url)

    dashboard.write("input[type=file]", str(file))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed")
    dashboard.wait_for(lambda: "Mean 7.375" in (dashboard.text(".sample .numbers") or ""))
    assert "2 values" in dashboard.attributes(".histogram svg", "aria-label")[0]


def test_values_that_are_all_the_same_have_a_bar(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Wider than the line of their mean, which stands in its middle."""
    dashboard.open(stack.url)

    dashboard.drop(ndjson(tmp_path, GOOD | {"data": [7.75, 7.75]}))

    dashboard.wait_for(lambda: "Mean 7.75" in (dashboard.text(".sample .numbers") or ""))
    [width] = dashboard.attributes(".histogram .bin", "width")
    assert float(width) > 20


def test_a_long_file_is_sent_in_parts(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Lines keep their numbers over the parts, and one that is longer than a part is a sample like others."""
    long = {"time_stamp": "2026-11-24T01:02:03Z", "data": [0.123456789] * 150_000}
    dashboard.open(stack.url)

    dashboard.drop(ndjson(tmp_path, GOOD, long, GOOD, *[long] * 2, BAD))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "5 computed, 1 rejected")
    assert dashboard.text(".line-number") == "6 1 2 3 4 5"


def test_what_a_file_comes_to_is_said_once_it_is_known(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """No file with samples is said to be empty, not even for a moment between its last part and its outcome."""
    dashboard.open(stack.url)
    dashboard.run(
        "window.said = new Set(); new MutationObserver(() => said.add(document.querySelector('.outcome')?.textContent))"
        ".observe(document.body, { subtree: true, childList: true, characterData: true })"
    )

    dashboard.drop(ndjson(tmp_path, GOOD, GOOD))

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "2 computed")
    assert "nothing in it" not in dashboard.run("return [...said]")


def test_deviations_as_large_as_doubles_are_drawn(stack: Stack, dashboard: Dashboard) -> None:
    """Also where the distance between both sides of the mean is no double any more."""
    largest = {"time_stamp": "1999-01-01T00:00:00Z", "data": [-1.7e308, 1.7e308]}
    stack.wait_for(stack.submit(largest)["id"])

    dashboard.open(f"{stack.url}/?timestamp.lt=2000-01-01T00:00:00Z")

    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    painted = dashboard.wait_for(lambda: dashboard.painted(".plot canvas", like=".key-point"))
    assert all(0.4 < place < 0.6 for place in painted)  # a single instant is in the middle
    dashboard.write("[name='mean.gte']", "1")
    dashboard.wait_for(lambda: dashboard.results() == [])
    assert not dashboard.run(
        "return document.querySelector('.plot canvas').checkVisibility({ visibilityProperty: true })"
    )


def test_a_sample_chosen_during_an_outage_is_shown_after_it(own_stack: Stack, dashboard: Dashboard) -> None:
    """Until then none is shown in its place."""
    stack = own_stack
    for _ in range(2):
        stack.wait_for(stack.submit(GOOD)["id"])
    dashboard.open(stack.url)
    newest, older = dashboard.wait_for(lambda: found if len(found := dashboard.results()) == 2 else None)
    shown = ".sample code.hint"
    dashboard.wait_for(lambda: dashboard.attributes(shown, "title") == [newest])
    stack.stop()

    dashboard.press("tbody tr:nth-child(2) button")

    dashboard.wait_for(lambda: "The server does not answer." in (dashboard.text(".sample") or ""))
    assert dashboard.attributes(shown, "title") == []
    stack.start()
    dashboard.wait_for(lambda: dashboard.attributes(shown, "title") == [older])
    assert "does not answer" not in (dashboard.text(".sample") or "")


def test_the_subscription_survives_a_restart_of_the_api(own_stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Killed while results come, then stopped with Firestore: no result is missing, none comes twice."""
    stack = own_stack
    first = stack.submit(GOOD)["id"]
    stack.wait_for(first)
    dashboard.open(stack.url)
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
    sent += [stack.submit(GOOD)["id"] for _ in range(5)]

    dashboard.wait_until_live()
    dashboard.wait_for(lambda: dashboard.arrived() >= len(sent))
    dashboard.press(".more")
    dashboard.wait_for(lambda: len(dashboard.results()) > len(sent))
    assert sorted(dashboard.results()) == sorted([first, *sent])
    assert sorted(dashboard.watched()) == sorted(sent)


def test_what_is_on_the_screen_can_be_filtered_shared_and_taken_to_graphiql(
    stack: Stack, dashboard: Dashboard, driver: Chrome
) -> None:
    """The filter is in the address; the link opens GraphiQL with the query and its variables, and never the key."""
    for mean in (4100.0, 4200.0):
        stack.wait_for(stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [mean]})["id"])
    dashboard.open(f"{stack.url}/?mean.gte=4000&mean.lte=4300")
    dashboard.wait_for(lambda: len(dashboard.results()) == 2)

    dashboard.write("[name='mean.lte']", f"{Keys.CONTROL}a{Keys.NULL}4150")

    dashboard.wait_for(lambda: len(dashboard.results()) == 1)
    assert urlsplit(dashboard.address).query == "mean.gte=4000&mean.lte=4150"
    dashboard.press(".take button", "CSV")
    taken = "/results?mean.gte=4000&mean.lte=4150&format=csv"
    dashboard.wait_for(lambda: dashboard.answered(taken) == [200])
    [link] = dashboard.attributes("nav a", "href")
    assert stack.key not in link
    dashboard.press("nav a")
    graphiql = GraphiQL(driver)
    graphiql.wait_until_usable()
    graphiql.play()
    graphiql.wait_for_answer('"mean": 4100')
    assert "4200" not in graphiql.answer()
    assert graphiql.text(".graphiql-tab-button") == (
        "Results SubmitSample SubmitMany LatestResults ResultsInRange Summary WatchResults OneSample"
    )


def test_whoever_comes_by_another_name_gives_a_key_first(stack: Stack, dashboard: Dashboard) -> None:
    """The page is not handed the local key there; a wrong one is refused, a good one is kept over a reload."""
    url = f"http://dropzone.test:{urlsplit(stack.url).port}"
    dashboard.go_to(url)
    dashboard.wait_for(lambda: dashboard.text("h1") == "An API key, please")
    dashboard.write("#key", "wrong")
    dashboard.press(".key button[type=submit]")
    dashboard.wait_for(lambda: dashboard.text("h1") == "The key was refused")
    assert dashboard.text(".key .fault") == "It is unknown, expired or revoked."
    dashboard.write("#key", "no header has a ✓ in it")
    dashboard.press(".key button[type=submit]")
    assert dashboard.text("h1") == "The key was refused"
    dashboard.run("document.querySelector('#key').value = ''")

    dashboard.write("#key", stack.key)
    dashboard.press(".key button[type=submit]")

    dashboard.wait_until_live()
    dashboard.open(url)
    dashboard.press("nav button", "Forget key")
    dashboard.wait_for(lambda: dashboard.text("h1") == "An API key, please")


@pytest.mark.skipif(not AXE.exists(), reason="needs `npm ci` in tests/graphql_api/audit")
def test_nobody_is_kept_out(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """axe-core finds no serious fault, light and dark, on the page in use and on the one that asks for a key."""
    dashboard.open(stack.url)
    dashboard.drop(ndjson(tmp_path, GOOD, BAD))
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed, 1 rejected")
    dashboard.wait_for(lambda: dashboard.text(".problems time"))
    dashboard.wait_for(lambda: dashboard.text(".histogram figcaption"))
    dashboard.prefer("light")
    light = dashboard.faults()
    ground = dashboard.run("return getComputedStyle(document.documentElement).backgroundColor")
    dashboard.prefer("dark")
    dark = dashboard.faults()
    assert dashboard.run("return getComputedStyle(document.documentElement).backgroundColor") != ground

    dashboard.go_to(f"http://dropzone.test:{urlsplit(stack.url).port}")
    dashboard.wait_for(lambda: dashboard.text("h1") == "An API key, please")
    assert [light, dark, dashboard.faults()] == [[], [], []]


def test_the_keyboard_is_enough(stack: Stack, dashboard: Dashboard) -> None:
    """Rows of the table are buttons; the arrow keys go from one to the next and show its sample."""
    for mean in (1.0, 2.0):
        stack.wait_for(stack.submit({"time_stamp": "2026-11-24T01:02:03Z", "data": [mean]})["id"])
    dashboard.open(stack.url)
    dashboard.wait_for(lambda: len(dashboard.results()) >= 2)

    dashboard.write("tbody tr:first-child button", "\ue007")  # Enter
    dashboard.write("tbody tr:first-child button", "\ue015")  # arrow down

    dashboard.wait_for(lambda: dashboard.attributes("tr.shown", "data-id") == dashboard.results()[1:2])
    assert dashboard.text("#sample-title") == "Chosen sample"


def test_what_is_skipped_to_is_not_behind_the_header(stack: Stack, dashboard: Dashboard) -> None:
    """The header stays where it is, above all that is scrolled to."""
    dashboard.command("Emulation.setDeviceMetricsOverride", width=360, height=120, deviceScaleFactor=1, mobile=True)
    dashboard.open(stack.url)

    dashboard.write(".skip", "\ue007")  # Enter

    dashboard.wait_for(lambda: dashboard.address.endswith("#results"))
    gap = "return document.querySelector(arguments[0]).getBoundingClientRect()[arguments[1]]"
    assert dashboard.run(gap, "#results", "top") >= dashboard.run(gap, "header", "bottom")


def test_colours_can_be_chosen(stack: Stack, dashboard: Dashboard) -> None:
    """Light or dark against the system's will, also after a reload."""
    dashboard.prefer("light")
    dashboard.open(stack.url)

    dashboard.press("nav button[aria-label^='Colours: as the system']")
    dashboard.press("nav button[aria-label^='Colours: light']")

    dashboard.open(stack.url)
    assert dashboard.run("return getComputedStyle(document.documentElement).colorScheme") == "dark"

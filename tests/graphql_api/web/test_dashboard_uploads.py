"""Files that are submitted on the dashboard: repeated uploads and CSV, in a real browser."""

import gzip
import json
import os
import re
import signal
from functools import partial
from pathlib import Path

from tests.graphql_api.web.dashboard import Dashboard
from tests.stack import Stack

CSV = """time_stamp,label.site,inner,outer
2026-11-24T01:02:03Z,zurich,0.10,2e1
2026-11-24T01:02:03Z,zurich,.30,NaN

2026-11-24T01:02:05Z,bern,5,six
2026-11-24T01:02:06,"bern, north",7,8
"""
COUNT = "{ samples(first: 0) { totalCount } }"
ENDLESS = 2_000  # bytes per second: a file of 2 MB is not sent before the limit ends
RECORD_OUTCOMES = """
    window.outcomes = [];
    new MutationObserver(() => outcomes.push(document.querySelector('.outcome').textContent))
        .observe(document.body, { subtree: true, childList: true, characterData: true });
"""
SAMPLES = "{ samples { totalCount edges { node { labels { value } missingCount raw } } } }"


def lines(folder: Path, count: int) -> Path:
    """Return a file with a sample per line, which the page sends in several parts."""
    file = folder / "samples.ndjson"
    sample = {"time_stamp": "2026-11-24T01:02:03Z", "note": "x" * 100_000}
    file.write_text("\n".join(json.dumps(sample | {"data": [number]}) for number in range(count)))
    return file


def test_an_outage_loses_neither_the_selection_nor_a_file(
    own_stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """The sample that is selected meanwhile is displayed afterwards, and no error. A retry stores each sample once."""
    stack = own_stack
    for _ in range(2):
        stack.wait_for(stack.submit_fixture()["id"])
    dashboard.open(stack)
    newest, older = dashboard.wait_for(lambda: ids if len(ids := dashboard.results()) == 2 else None)
    displayed = ".sample code.hint"
    dashboard.wait_for(lambda: dashboard.attributes(displayed, "title") == [newest])
    stack.stop()

    dashboard.press(".results tbody tr:nth-child(2) button")
    dashboard.wait_for(lambda: "The server does not respond." in (dashboard.text(".sample") or ""))
    assert dashboard.attributes(displayed, "title") == []
    dashboard.press(".downloads button", "CSV")
    dashboard.wait_for(lambda: dashboard.text("[role=alert]") == "The server does not respond.")
    dashboard.drop(lines(tmp_path, 25))
    dashboard.wait_for(lambda: "the connection was lost" in (dashboard.text(".outcome") or ""))
    stack.start()

    dashboard.wait_for(lambda: dashboard.attributes(displayed, "title") == [older])
    assert "does not respond" not in (dashboard.text(".sample") or "")
    assert dashboard.text("[role=alert]") is None
    dashboard.press(".retry", "Retry")
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "25 computed")
    assert (dashboard.text(".line-number") or "").split() == [str(number) for number in range(1, 26)]
    assert dashboard.text(".retry") is None
    dashboard.drop(lines(tmp_path, 26))
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "26 computed 25 computed")
    assert stack.graphql("{ samples(first: 0) { totalCount } }")["samples"]["totalCount"] == 2 + 26


def test_a_csv_file_has_one_sample_per_time_stamp_and_labels(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """Digits are kept, NaN is a missing value, and problems have the line numbers of the file."""
    key = stack.new_key("csv-on-page")
    file = tmp_path / "samples.csv"
    file.write_text(CSV)
    dashboard.open(stack, key=key)

    dashboard.drop(file)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed, 1 rejected, 1 not stored")
    lines = dashboard.text(".lines") or ""
    assert '5 Not stored expected a number, got "six" in column outer' in lines
    assert "6 Rejected" in lines
    assert "$.time_stamp expected a UTC offset" in lines
    listed = stack.graphql(SAMPLES, key=key)["samples"]
    assert listed["totalCount"] == 2
    stored = {node["labels"][0]["value"]: node for node in (edge["node"] for edge in listed["edges"])}
    assert [stored[name]["missingCount"] for name in ("zurich", "bern, north")] == [1, 0]
    raw = stack.post_body(json.dumps({"query": SAMPLES}).encode(), key=key).text
    assert '"data":[0.10,2e1,0.30,null]' in raw


def test_the_example_has_the_current_time(stack: Stack, dashboard: Dashboard) -> None:
    """An example of an earlier year would hide the results of today in the plot. A label separates it from them."""
    dashboard.open(stack, "/?last=hour&label.source=example", key=stack.new_key("example-on-page"))

    dashboard.press(".example button", "Submit an example")

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed")
    dashboard.wait_for(lambda: len(dashboard.results()) == 1)


def test_a_retry_is_offered_only_if_it_can_help(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The page keeps the file as it was chosen. If the file is wrong, the user must choose a corrected one."""
    table, document = tmp_path / "samples.csv", tmp_path / "sample.json"
    table.write_text("value\n1\n")
    document.write_text('{"time_stamp": ')
    dashboard.open(stack)

    def shows(problem: str) -> bool:
        return problem in (dashboard.text(".file.refused .outcome") or "")

    for file, problem in (
        (table, "expected columns separated by commas, one of them with the name time_stamp"),
        (document, "not JSON"),
    ):
        dashboard.drop(file)
        dashboard.wait_for(partial(shows, problem))

    assert dashboard.text(".retry") is None


def test_a_key_without_the_scope_cannot_submit(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The page says which scope is needed. A dropped file is neither sent nor opened."""
    file = tmp_path / "samples.csv"
    file.write_text(CSV)
    dashboard.open(stack, key=stack.new_key("reader-on-page", "read"))

    dashboard.drop(file)

    assert "sign in with a key that has the scope submit" in (dashboard.text(".uploads") or "")
    assert dashboard.text("input[type=file]") is None
    assert dashboard.text(".file") is None
    assert dashboard.text(".connection") == "Live"


def test_the_browser_asks_before_the_page_is_left_during_an_upload(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """The rest of the file would not be sent."""
    leave = "const event = new Event('beforeunload', { cancelable: true }); return !dispatchEvent(event)"
    dashboard.open(stack, key=stack.new_key("leaving-during-upload"))
    assert not dashboard.run(leave)
    dashboard.throttle(bytes_per_second=ENDLESS)

    dashboard.drop(lines(tmp_path, 20))

    dashboard.wait_for(lambda: dashboard.run(leave))
    assert dashboard.text(".file.sending")
    dashboard.throttle(bytes_per_second=-1)
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "20 computed")
    dashboard.wait_for(lambda: not dashboard.run(leave))


def test_a_csv_file_in_another_encoding_is_not_stored(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Its labels would contain replacement characters. The Python client refuses such rows too."""
    key = stack.new_key("encoding-on-page")
    file = tmp_path / "samples.csv"
    file.write_bytes("time_stamp,label.site,value\n2026-11-24T01:02:03Z,zürich,1\n".encode("latin-1"))
    dashboard.open(stack, key=key)

    dashboard.drop(file)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "expected text in UTF-8")
    assert stack.graphql(SAMPLES, key=key)["samples"]["totalCount"] == 0


def test_a_spreadsheet_is_refused_with_advice(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The server would say that it is not JSON. The name can be wrong."""
    advice = "expected JSON, NDJSON or CSV; save a spreadsheet as CSV in UTF-8"
    dashboard.open(stack, key=stack.new_key("spreadsheet-on-page"))

    for name, start in (("table.xlsx", b"PK\x03\x04"), ("table.csv", b"\xd0\xcf\x11\xe0")):
        file = tmp_path / name
        file.write_bytes(start + b"\xff" * 99)
        dashboard.drop(file)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == f"{advice} {advice}")


def test_a_compressed_file_is_refused_with_advice(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The server would name a header, which a user of the page cannot send."""
    dashboard.open(stack, key=stack.new_key("compressed-on-page"))

    for name, content in (("a.json.gz", gzip.compress(b"{}")), ("b.csv", bytes.fromhex("28b52ffd00"))):
        file = tmp_path / name
        file.write_bytes(content)
        dashboard.drop(file)

    advice = "expected a file that is not compressed; decompress it first"
    dashboard.wait_for(lambda: dashboard.text(".outcome") == f"{advice} {advice}")


def test_the_page_is_live_after_a_change_of_the_filter_while_a_result_is_missing(
    own_stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """The page has one connection. The upload still uses it when the page subscribes again."""
    stack = own_stack
    os.kill(stack.function_pid(), signal.SIGSTOP)
    file = tmp_path / "sample.json"
    file.write_text('{"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}')
    dashboard.open(stack, "/?last=week")
    dashboard.drop(file)
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 pending")

    dashboard.press(".presets button", "All")

    dashboard.wait_for(lambda: dashboard.text(".presets [aria-pressed=true]") == "All")
    dashboard.wait_until_live()
    assert dashboard.text(".outcome") == "1 pending"
    os.kill(stack.function_pid(), signal.SIGCONT)
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed")


def outcomes(dashboard: Dashboard) -> list[str]:
    """Return the outcome of each file, the newest first."""
    texts: list[str] = dashboard.run(
        "return [...document.querySelectorAll('.outcome')].map((each) => each.textContent)"
    )
    return texts


def test_a_file_that_waits_for_another_one_is_stopped_at_once(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """It can be resumed while the other file is sent, and is then sent once."""
    key = stack.new_key("waiting-on-page")
    first, second = lines(tmp_path, 20), tmp_path / "second.json"
    second.write_text('{"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}')
    dashboard.open(stack, key=key)
    dashboard.throttle(bytes_per_second=ENDLESS)
    dashboard.drop(first)
    dashboard.wait_for(lambda: dashboard.text(".file.sending"))
    dashboard.drop(second)
    dashboard.wait_for(lambda: dashboard.text(".file.waiting"))

    dashboard.press("[aria-label='Stop second.json']")

    dashboard.wait_for(lambda: dashboard.text(".file.stopped .outcome") == "stopped")
    assert dashboard.text(".file.sending")
    dashboard.press(".retry", "Resume")
    dashboard.wait_for(lambda: dashboard.text(".file.waiting"))
    dashboard.throttle(bytes_per_second=-1)
    dashboard.wait_for(lambda: outcomes(dashboard) == ["1 computed", "20 computed"])
    assert stack.graphql(COUNT, key=key)["samples"]["totalCount"] == 21


def test_a_retry_keeps_the_outcomes_of_all_lines(own_stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Results of lines that were stored before the connection was lost arrive after the other lines are stored."""
    stack = own_stack
    dashboard.open(stack)
    os.kill(stack.function_pid(), signal.SIGSTOP)
    dashboard.throttle(bytes_per_second=300_000)
    dashboard.drop(lines(tmp_path, 50))
    dashboard.wait_for(lambda: re.fullmatch(r"\d+ pending", dashboard.text(".outcome") or ""))
    dashboard.set_offline(True)
    dashboard.wait_for(lambda: dashboard.text(".file.broken"))
    dashboard.set_offline(False)
    dashboard.press(".retry", "Retry")
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "50 pending")
    dashboard.run(RECORD_OUTCOMES)

    os.kill(stack.function_pid(), signal.SIGCONT)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "50 computed")
    totals = [sum(map(int, re.findall(r"\d+", text))) for text in dashboard.run("return outcomes")]
    assert set(totals) == {50}


def test_many_samples_of_an_earlier_upload_are_settled_while_others_are_pending(
    own_stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """The subscription does not deliver their results again, so the page asks for the states of a few at a time."""
    stack = own_stack
    sample = {"time_stamp": "2026-11-24T01:02:03Z"}
    earlier, both = tmp_path / "earlier.ndjson", tmp_path / "both.ndjson"
    texts = [json.dumps(sample | {"data": [number]}) for number in range(250)]
    earlier.write_text("\n".join(texts[:150]))
    both.write_text("\n".join(reversed(texts)))
    dashboard.open(stack)
    dashboard.drop(earlier)
    dashboard.wait_for(lambda: outcomes(dashboard) == ["150 computed"])
    os.kill(stack.function_pid(), signal.SIGSTOP)

    dashboard.drop(both)

    dashboard.wait_for(lambda: outcomes(dashboard)[0] == "150 computed, 100 pending")
    os.kill(stack.function_pid(), signal.SIGCONT)
    dashboard.wait_for(lambda: outcomes(dashboard)[0] == "250 computed")

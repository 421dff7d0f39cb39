"""How the dashboard reads the files that are submitted on it, in a real browser."""

import json
import re
from pathlib import Path

from tests.graphql_api.web.dashboard import Dashboard
from tests.stack import Stack

SAMPLE = {"time_stamp": "2026-11-24T01:02:03Z", "data": [1]}

STOP_WHEN_READ_IN_PART = """
    window.read = [];
    const look = () => {
        const progress = document.querySelector("progress[aria-label='large.csv, read']");
        if (progress && read.at(-1) !== progress.value) read.push(progress.value);
        if (read.length === 3) document.querySelector("[aria-label='Stop large.csv']").click();
        else requestAnimationFrame(look);
    };
    look();
"""

RECORD_SIZES = """
    window.sizes = [];
    const { send } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.send = function (body) {
        sizes.push(body.size);
        send.call(this, body);
    };
"""


def test_a_byte_order_mark_at_the_start_of_a_file_is_not_sent(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """PowerShell and Notepad can write it, and the API refuses it."""
    one, some = tmp_path / "one.json", tmp_path / "some.ndjson"
    one.write_text(json.dumps(SAMPLE, indent=2), encoding="utf-8-sig")
    some.write_text(f"{json.dumps(SAMPLE)}\n{json.dumps(SAMPLE | {'data': [2]})}\n", encoding="utf-8-sig")
    dashboard.open(stack, key=stack.new_key("byte-order-mark-on-page"))

    dashboard.drop(one)
    dashboard.drop(some)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "2 computed 1 computed")


def test_the_page_responds_while_it_reads_a_table(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """It shows how much it has read. No sample of a file that is stopped meanwhile is sent."""
    key = stack.new_key("large-table-on-page")
    file = tmp_path / "large.csv"
    row = "2026-11-24T01:02:03Z,0.123456789\n"
    file.write_text("time_stamp,value\n" + row * 400_000)
    dashboard.open(stack, key=key)
    dashboard.run(STOP_WHEN_READ_IN_PART)

    dashboard.drop(file)

    dashboard.wait_for(lambda: "stopped" in (dashboard.text(".outcome") or ""))
    [first, *_, last] = dashboard.run("return read")
    assert 0 <= first < last < file.stat().st_size
    assert stack.graphql("{ samples(first: 0) { totalCount } }", key=key)["samples"]["totalCount"] == 0
    assert dashboard.text(".retry") == "Resume"


def computed(dashboard: Dashboard) -> str | None:
    """Return the outcome of a stopped file. Return None as long as a sample is pending."""
    outcome = dashboard.text(".file.stopped .outcome") or ""
    return outcome if "computed" in outcome and "pending" not in outcome else None


def test_a_table_that_is_stopped_while_it_is_read_again_keeps_its_outcomes(
    stack: Stack, dashboard: Dashboard, tmp_path: Path
) -> None:
    """A resumed table is read again before the rest of its samples is sent."""
    file = tmp_path / "large.csv"
    times = [f"2026-11-24T{number // 60:02d}:{number % 60:02d}:00Z" for number in range(150)]
    file.write_text("time_stamp,value\n" + "".join(f"{time},0.123456789\n" * 2_000 for time in times))
    dashboard.open(stack, key=stack.new_key("resumed-table-on-page"))
    dashboard.throttle(bytes_per_second=300_000)
    dashboard.drop(file)
    dashboard.wait_for(lambda: re.fullmatch(r"\d+ computed", dashboard.text(".outcome") or ""))
    dashboard.press("[aria-label='Stop large.csv']")
    stopped = dashboard.wait_for(lambda: computed(dashboard))

    dashboard.run(STOP_WHEN_READ_IN_PART)
    dashboard.press(".retry", "Resume")

    dashboard.wait_for(lambda: dashboard.run("return read.length") == 3)
    dashboard.wait_for(lambda: computed(dashboard) == stopped)
    dashboard.throttle(bytes_per_second=-1)
    dashboard.press(".retry", "Resume")
    dashboard.wait_for(lambda: dashboard.text(".outcome") == "150 computed")


def test_the_first_lines_of_a_file_are_sent_first(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """The page shows their outcomes while it sends the rest, also over a slow connection. No line is sent twice."""
    file = tmp_path / "samples.ndjson"
    file.write_text("".join(json.dumps(SAMPLE | {"data": [line], "note": "x" * 9_000}) + "\n" for line in range(300)))
    dashboard.open(stack, key=stack.new_key("first-lines-on-page"))
    dashboard.run(RECORD_SIZES)

    dashboard.drop(file)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "300 computed")
    [first, *others] = dashboard.run("return sizes")
    assert first <= 64 * 1024
    assert max(others) <= 1024 * 1024
    assert sum([first, *others]) == file.stat().st_size


def test_a_file_that_is_dropped_again_is_stored_once(stack: Stack, dashboard: Dashboard, tmp_path: Path) -> None:
    """Like the same file of lines, and like the command. A user drops a folder again if some of its files failed."""
    key = stack.new_key("dropped-again")
    pretty, keyed = tmp_path / "pretty.json", tmp_path / "keyed.json"
    pretty.write_text(json.dumps(SAMPLE, indent=2))
    keyed.write_text(json.dumps(SAMPLE | {"idempotency_key": "own"}))
    stack.post_sample(keyed.read_bytes(), x_api_key=key)
    dashboard.open(stack, key=key)

    for file in (pretty, keyed, pretty):
        dashboard.drop(file)

    dashboard.wait_for(lambda: dashboard.text(".outcome") == "1 computed 1 computed 1 computed")
    assert stack.graphql("{ samples(first: 0) { totalCount } }", key=key)["samples"]["totalCount"] == 2

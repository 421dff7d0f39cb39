"""Labels in the client and in the command: given with a submission, and used as a filter."""

import csv
import json
from io import StringIO
from itertools import islice
from pathlib import Path

import pytest

from dropzone import Client, Range, ResultFilter, SampleFilter, TimeBucket, TooLarge, UnusableSample
from tests.client.conftest import output_of, run
from tests.stack import FIXTURE, Stack

SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}


def test_equal_samples_of_two_sensors_are_two_samples(stack: Stack) -> None:
    """The idempotency key depends on the labels, so neither sensor loses its sample."""
    with Client(stack.url, stack.new_key("two-sensors")) as client:
        receipts = [client.submit(SAMPLE, labels={"serial_number": number}) for number in ("1", "2", "1")]
        settled = list(client.wait({receipt.id for receipt in receipts}))
        (result,) = client.results(ResultFilter(labels={"serial_number": "2"}))
        (sample,) = client.samples(SampleFilter(labels={"serial_number": "2"}))

    assert receipts[0].id == receipts[2].id != receipts[1].id
    assert len(settled) == 2
    assert result.labels == sample.labels == receipts[1].labels == {"serial_number": "2"}
    assert result.id == sample.id == receipts[1].id


@pytest.mark.parametrize("label", [{"Site": "a"}, {"site\n": "a"}, {"site": "a\r\nx-api-key: b"}, {"site": "a "}])
def test_a_label_that_no_header_can_hold_is_refused(stack: Stack, label: dict[str, str]) -> None:
    """It cannot add a header to the request, and its value does not change on the way."""
    with Client(stack.url, stack.key) as client, pytest.raises(UnusableSample):
        client.submit(SAMPLE, labels=label)


def test_the_error_says_that_the_headers_are_too_large(stack: Stack) -> None:
    """Such an error is a list of errors, as in a response of GraphQL. The client said only that the status was 431."""
    with Client(stack.url, stack.key) as client, pytest.raises(TooLarge, match="expected headers of at most"):
        client.submit(SAMPLE, labels={"site": "a" * 100_000})


def test_the_command_submits_and_filters_with_labels(stack: Stack) -> None:
    """`--label` can be repeated."""
    key = stack.new_key("labelled-command")
    options = ("--label", "site=zürich 👩\u200d🔬", "--label", "unit=V")

    submitted = output_of(stack, key, "submit", "--wait", *options, FIXTURE)
    found = output_of(stack, key, "results", "--label", "site=zürich 👩\u200d🔬")
    missing = output_of(stack, key, "results", "--label", "site=bern")
    wrong = run(stack, key, "results", "--label", "site")
    upper = [
        run(stack, key, *arguments)
        for arguments in (
            ["submit", FIXTURE, "--label", "A=b"],
            ["results", "--label", "A=b"],
            ["summary", "--by", "A"],
        )
    ]

    assert json.loads(found)["id"] == json.loads(submitted)["id"]
    assert json.loads(found)["labels"] == {"site": "zürich 👩\u200d🔬", "unit": "V"}
    assert missing == ""
    assert "expected NAME=VALUE, got site" in wrong.stderr
    assert all("lower-case letters" in each.stderr for each in upper)
    assert {each.exit_code for each in (wrong, *upper)} == {2}  # wrong usage


def test_watch_prints_the_results_with_a_label(stack: Stack) -> None:
    """Results without the label are left out."""
    key = stack.new_key("watched-label")
    with Client(stack.url, key) as client:
        list(client.wait([client.submit(SAMPLE).id]))
        cursor = client.newest_cursor() or ""
        other, *wanted = (
            client.submit({**SAMPLE, "data": [number]}, labels={"site": site}).id
            for number, site in enumerate(("basel", "bern", "bern"))
        )
        list(client.wait([other, *wanted]))
        watched = [edge.result.id for edge in islice(client.watch(ResultFilter(labels={"site": "bern"}), cursor), 2)]

    printed = output_of(stack, key, "watch", "--label", "site=bern", "--after", cursor, "-n", "2")

    assert set(watched) == set(wanted)
    assert [json.loads(line)["id"] for line in printed.splitlines()] == watched


def test_watch_starts_with_the_first_stored_result_with_a_label(stack: Stack, tmp_path: Path) -> None:
    """It then waits for new results. The server does not list results with labels in the order of their computation."""
    key = stack.new_key("watched-label-from-the-start")
    state = tmp_path / "state"
    state.write_text("start\n")  # as after a run without results
    where = ResultFilter(labels={"site": "bern"}, mean=Range(gte=1))
    with Client(stack.url, key) as client:

        def submitted(value: int, site: str) -> str:
            (settled,) = client.wait([client.submit({**SAMPLE, "data": [value]}, labels={"site": site}).id])
            return settled.id

        stored = [submitted(value, site) for value, site in enumerate(("bern", "basel", "bern", "bern", "basel"))]
        watched = client.watch(where, after="")
        first = [edge.result.id for edge in islice(watched, 2)]
        submitted(5, "basel")
        new = submitted(6, "bern")
        following = next(watched).result.id

    printed = output_of(stack, key, "watch", "--label", "site=bern", "--cursor-file", state, "-n", "4")

    assert first == [stored[2], stored[3]]
    assert following == new
    assert [json.loads(line)["id"] for line in printed.splitlines()] == [stored[0], stored[2], stored[3], new]


def test_the_newest_result_of_each_sensor_is_printed(stack: Stack) -> None:
    """The client has the same groups."""
    key = stack.new_key("latest-command")
    with Client(stack.url, key) as client:
        receipts = [
            client.submit({"time_stamp": f"2019-05-0{day}T00:00:00Z", "data": [day]}, labels={"serial_number": number})
            for number in ("1", "2")
            for day in (1, 2)
        ]
        list(client.wait([receipt.id for receipt in receipts]))
        groups = client.groups(["serial_number"])
        buckets = client.over_time(TimeBucket.DAY, group_by=["serial_number"])
        listed = client.label_names(), client.label_values("serial_number")

    printed = output_of(stack, key, "latest", "--by", "serial_number")

    assert [json.loads(line)["id"] for line in printed.splitlines()] == [receipts[1].id, receipts[3].id]
    assert {group.labels["serial_number"]: group.summary.mean for group in groups} == {"1": 1.5, "2": 1.5}
    assert sorted((bucket.start.day, bucket.labels["serial_number"]) for bucket in buckets) == [
        (1, "1"),
        (1, "2"),
        (2, "1"),
        (2, "2"),
    ]
    assert listed == (["serial_number"], ["1", "2"])


def test_a_mistyped_label_is_noted(stack: Stack) -> None:
    """A summary by a label that no result has looks like a summary of all results."""
    key = stack.new_key("mistyped-label")
    stack.wait_for(stack.submit(SAMPLE, key=key)["id"], key=key)

    for command in ("summary", "latest"):
        ran = run(stack, key, command, "--by", "serial_nmber")
        assert ran.stderr == "note: no selected result has the label serial_nmber\n"
        assert ran.exit_code == 0


def test_a_mistyped_label_without_results_is_noted(stack: Stack) -> None:
    """An empty list looks the same as one of a sensor that has sent nothing in this range."""
    key = stack.new_key("mistyped-label-of-results")
    stack.wait_for(stack.submit(SAMPLE | {"labels": {"site": "bern"}}, key=key)["id"], key=key)

    for labels, note in (
        (("site=brn",), "note: no result has the label site=brn\n"),
        (("sit=bern", "site=bern"), "note: no result has the label sit=bern\n"),
        (("site=bern",), ""),
    ):
        options = [part for label in labels for part in ("--label", label)]
        ran = run(stack, key, "results", "--where", "mean.lt=-1e9", *options)
        assert (ran.stdout, ran.stderr, ran.exit_code) == ("", note, 0)


@pytest.mark.parametrize(
    "command",
    [("summary",), ("summary", "--bucket", "day"), ("latest", "--by", "site"), ("samples",), ("delete", "-y")],
)
def test_a_mistyped_label_of_a_filter_is_noted(stack: Stack, command: tuple[str, ...]) -> None:
    """Zeros, an empty list and nothing to delete look the same for a sensor that has sent nothing."""
    key = stack.new_key("mistyped-label-of-filter", "submit,read,admin")
    stack.wait_for(stack.submit(SAMPLE | {"labels": {"site": "bern"}}, key=key)["id"], key=key)

    ran = run(stack, key, *command, "--label", "site=brn")

    assert "note: no result has the label site=brn\n" in ran.stderr
    assert ran.exit_code == 0


def test_a_summary_is_printed_in_the_formats_of_results(stack: Stack) -> None:
    """In CSV, labels are the JSON text of an object, as in an exported file."""
    key = stack.new_key("summaries")
    with Client(stack.url, key) as client:
        for site, value in (("bern", 1), ("zürich", 3)):
            sample = {"time_stamp": "2019-05-01T06:00:00Z", "data": [value], "labels": {"site": site}}
            list(client.wait([client.submit(sample).id]))
    arguments = ("summary", "--by", "site", "--bucket", "day", "--format")

    rows = list(csv.DictReader(StringIO(output_of(stack, key, *arguments, "csv"))))
    lines = [json.loads(line) for line in output_of(stack, key, *arguments, "ndjson").splitlines()]
    table = output_of(stack, key, *arguments, "table").splitlines()
    [whole] = csv.DictReader(StringIO(output_of(stack, key, "summary", "-f", "csv")))
    none = output_of(stack, key, *arguments, "csv", "--where", "mean.gt=9")

    assert [(row["start"], row["labels"], row["mean"]) for row in rows] == [
        ("2019-05-01T00:00:00Z", '{"site":"bern"}', "1.0"),
        ("2019-05-01T00:00:00Z", '{"site":"zürich"}', "3.0"),
    ]
    assert json.loads(output_of(stack, key, *arguments, "json")) == lines
    assert [*rows[0]] == [*lines[0]]
    assert [each["labels"] for each in lines] == [{"site": "bern"}, {"site": "zürich"}]
    assert table[0].split()[:3] == ["start", "(UTC)", "labels"]
    assert table[2].split()[:2] == ["2019-05-01T00:00:00Z", "site=zürich"]
    assert [*whole] == [*rows[0]][2:]
    assert (whole["results"], whole["mean"]) == ("2", "2.0")
    assert none.splitlines() == [",".join(rows[0])]

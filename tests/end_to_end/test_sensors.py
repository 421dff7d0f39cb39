"""The first questions of someone who owns fifty sensors: GraphQL, client and command answer them as pandas does."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dropzone import Client, Range, ResultFilter, Summary, TimeBucket
from dropzone.encoding import camel_case
from fixture.sensors import FAULTY, SENSORS, samples
from tests.client.conftest import start as start_command
from tests.stack import Stack, eventually

__all__ = ["start_command"]

START = datetime(2026, 5, 1, tzinfo=UTC)
HOURS = (0, 1, 24)
NOTEBOOK = Path("docs/sensors.ipynb")
STATISTICS = "values mean standardDeviation minimum maximum median percentile95"
PERCENTILES = {
    "percentile_5": 0.05,
    "lower_quartile": 0.25,
    "median": 0.5,
    "percentile_95": 0.95,
    "percentile_99": 0.99,
}

Run = Callable[..., list[dict[str, Any]]]


@dataclass
class Owner:
    """The key of a submitter, its client, and a row per value with the time stamp and the labels of its sample."""

    key: str
    client: Client
    raw: list[dict[str, Any]]
    frame: pd.DataFrame


@pytest.fixture(scope="module")
def owner(stack: Stack) -> Iterator[Owner]:
    """Submit three hours of fifty sensors on two days."""
    key = stack.new_key("sensors", "submit,read,admin")
    hours = list(samples(max(HOURS) + 1, START))
    raw = [sample for hour in HOURS for sample in hours[hour * SENSORS : (hour + 1) * SENSORS]]
    rows = [
        {"time": pd.Timestamp(each["time_stamp"]), "value": value, **each["labels"]}
        for each in raw
        for value in each["data"]
        if value is not None
    ]
    with Client(stack.url, key) as client:
        receipts = list(client.submit_many(raw))
        ids = [str(getattr(receipt, "id", receipt)) for receipt in receipts]
        assert {settled.state for settled in client.wait(ids)} == {"COMPUTED"}
        yield Owner(key, client, raw, pd.DataFrame(rows))


@pytest.fixture
def run(owner: Owner, stack: Stack, start_command: Any) -> Run:
    """Return what the command prints, as JSON objects."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        output, errors = start_command(stack, owner.key, *arguments).communicate(timeout=100)
        assert output, errors
        return [json.loads(line) for line in output.splitlines()]

    return run


def equals(summary: Summary | dict[str, Any], values: "pd.Series[float]") -> None:
    """Compare a summary, or that of GraphQL or the command, with pandas over the values of all samples.

    The sketch has a relative error of 1 % of the values around a percentile.
    """

    def get(name: str) -> Any:
        if isinstance(summary, Summary):
            return getattr(summary, name)
        return summary[name if name in summary else camel_case(name)]

    assert int(get("values")) == len(values)
    assert get("mean") == pytest.approx(values.mean(), rel=1e-12)
    assert get("standard_deviation") == pytest.approx(values.std(ddof=0), rel=1e-9, abs=1e-12)
    assert (get("minimum"), get("maximum")) == (values.min(), values.max())
    for name in PERCENTILES if isinstance(summary, Summary) else ("median", "percentile_95"):
        low, high = (values.quantile(PERCENTILES[name], kind) for kind in ("lower", "higher"))
        assert 0.9899 * low <= get(name) <= 1.0101 * high


def test_the_results_of_one_sensor_and_of_two(owner: Owner, stack: Stack, run: Run) -> None:
    """Gaps are counted."""
    for sensor in ("sensor_07", "sensor_08"):
        expected = [
            (pd.Timestamp(each["time_stamp"]), each["data"].count(None))
            for each in owner.raw[::-1]
            if each["labels"]["sensor"] == sensor
        ]
        labels = [{"name": "sensor", "value": sensor}]
        query = "query ($f: ResultFilter) { results(filter: $f) { edges { node { id timestamp missingCount mean } } } }"
        nodes = [
            each["node"] for each in stack.graphql(query, {"f": {"labels": labels}}, key=owner.key)["results"]["edges"]
        ]
        table = owner.client.results(ResultFilter(labels={"sensor": sensor})).to_pandas()
        means = owner.frame[owner.frame.sensor == sensor].groupby("time").value.mean()[::-1]

        assert [(pd.Timestamp(node["timestamp"]), node["missingCount"]) for node in nodes] == expected
        assert [*zip(table.timestamp, table.missing_count, strict=True)] == expected
        assert [node["mean"] for node in nodes] == list(table["mean"]) == pytest.approx(list(means), rel=1e-12)
        if sensor == "sensor_07":
            assert [each["id"] for each in run("results", "--label", f"sensor={sensor}")] == [n["id"] for n in nodes]


def test_a_unit_is_never_joined_with_another(owner: Owner, stack: Stack, run: Run) -> None:
    """Degrees and revolutions are two groups, also of the percentiles of one day."""
    day = ResultFilter(timestamp=Range(gte=START, lt=datetime(2026, 5, 2, tzinfo=UTC)))
    first_day = owner.frame[owner.frame.time < pd.Timestamp("2026-05-02T00:00Z")]
    expected = dict(list(first_day.groupby("unit").value))
    query = f"""query ($f: ResultFilter) {{ resultsSummary(filter: $f, groupBy: ["unit"]) {{
        groups {{ labels {{ value }} {STATISTICS} }} }} }}"""

    by_client = owner.client.groups(["unit"], day)
    by_graphql = stack.graphql(query, {"f": day.variables()}, key=owner.key)["resultsSummary"]["groups"]
    by_command = run("summary", "--by", "unit", "--where", "timestamp.lt=2026-05-02T00:00:00Z")

    for values in (expected, by_client, by_graphql, by_command):
        assert len(values) == 2
    for group in by_client:
        equals(group.summary, expected[group.labels["unit"]])
    for node in by_graphql:
        equals(node, expected[node["labels"][0]["value"]])
    for row in by_command:
        equals(row, expected[row["labels"]["unit"]])


def test_all_interfaces_return_the_same_daily_summary_per_sensor(owner: Owner, stack: Stack, run: Run) -> None:
    """The sensor that always reports the same value has no deviation."""
    chosen = owner.frame[owner.frame.site == "lausanne"]
    expected = dict(list(chosen.groupby([chosen.time.dt.strftime("%Y-%m-%d"), "sensor"]).value))
    query = f"""{{ resultsOverTime(bucket: DAY, groupBy: ["sensor"],
        filter: {{labels: [{{name: "site", value: "lausanne"}}]}}) {{ start labels {{ value }} {STATISTICS} }} }}"""

    buckets = owner.client.over_time(TimeBucket.DAY, ResultFilter(labels={"site": "lausanne"}), ["sensor"])
    by_graphql = stack.graphql(query, key=owner.key)["resultsOverTime"]
    by_command = run("summary", "--bucket", "day", "--by", "sensor", "--label", "site=lausanne")

    assert len(buckets) == len(by_graphql) == len(by_command) == len(expected) == 20
    for bucket in buckets:
        equals(bucket.summary, expected[bucket.start.date().isoformat(), bucket.labels["sensor"]])
    for node in by_graphql:
        equals(node, expected[node["start"][:10], node["labels"][0]["value"]])
    for row in by_command:
        equals(row, expected[row["start"][:10], row["labels"]["sensor"]])
    faulty = [bucket for bucket in buckets if bucket.labels["sensor"] == FAULTY]
    assert [bucket.summary.standard_deviation for bucket in faulty] == [0, 0]


def test_all_interfaces_return_the_same_latest_result_of_each_sensor(owner: Owner, stack: Stack, run: Run) -> None:
    """GraphQL, the Python client and the command."""
    last = owner.frame[owner.frame.time == owner.frame.time.max()].groupby("sensor").value.mean()

    latest = owner.client.latest(["sensor"])
    by_graphql = stack.graphql('{ latestResults(groupBy: ["sensor"]) { id } }', key=owner.key)["latestResults"]

    assert {result.labels["sensor"]: result.mean for result in latest} == pytest.approx(last.to_dict(), rel=1e-12)
    assert {result.timestamp for result in latest} == {datetime(2026, 5, 2, tzinfo=UTC)}
    assert [node["id"] for node in by_graphql] == [result.id for result in latest]
    assert [row["id"] for row in run("latest", "--by", "sensor")] == [result.id for result in latest]


def test_wrong_samples_are_corrected_and_deleted(owner: Owner, stack: Stack, run: Run, tmp_path: Path) -> None:
    """Summaries then have the values of the corrections, and none of the deleted sample."""
    chosen = {"sensor": FAULTY}
    ids = [result.id for result in owner.client.results(ResultFilter(labels=chosen))]
    correction = tmp_path / "correction.json"
    correction.write_text(json.dumps({**owner.raw[13], "data": [21.0, 22.0]}))

    corrected = owner.client.submit({**owner.raw[13], "data": [23.0, 24.0]}, supersedes=ids[2])
    (again,) = run("submit", "--supersedes", corrected.id, "--wait", str(correction))
    eventually(lambda: all(owner.client.sample(each).state == "SUPERSEDED" for each in (ids[2], corrected.id)))
    (deleted,) = run("delete", "--yes", ids[0])

    level = owner.raw[13]["data"][0]
    equals(owner.client.summary(ResultFilter(labels=chosen)), pd.Series([21.0, 22.0, *[level] * 60]))
    assert (again["state"], deleted) == ("COMPUTED", {"deleted": 1})
    query = "query ($id: ID!) { deletedSample(id: $id) { id } sample(id: $id) { id } }"
    assert stack.graphql(query, {"id": ids[0]}, key=owner.key) == {"deletedSample": {"id": ids[0]}, "sample": None}


def test_the_notebook_runs(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells run in order, as in Jupyter, which does not know the modules of the clone and runs in `docs`.

    The last line of a cell shows something.
    """
    notebook = json.loads(NOTEBOOK.read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    monkeypatch.setenv("DROPZONE_URL", stack.url)
    monkeypatch.setenv("DROPZONE_KEY", stack.new_key("notebook", "submit,read,admin"))
    root = Path.cwd()
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each).resolve() != root])
    for name in ("fixture", "fixture.sensors"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(NOTEBOOK.parent)
    variables: dict[str, Any] = {}

    for number, cell in enumerate(cells):
        exec(compile(cell, f"cell {number}", "exec"), variables)

    assert len(variables["daily"]) == len(variables["local_days"]) == 50
    assert variables["deleted"] == 1

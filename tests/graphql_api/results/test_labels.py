"""Samples and results with given labels: in queries, exports, subscriptions and summaries."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from storage.documents import Result, Statistics, Status, document_paths, labels
from tests.graphql_api.results.measured import write_results
from tests.graphql_api.schema.subscriber import first_events
from tests.stack import Stack, eventually

RESULTS = """query ($labels: [LabelFilter!], $order: ResultOrder, $last: Int, $mean: FloatRange) {
    results(filter: {labels: $labels, mean: $mean}, orderBy: $order, last: $last) {
        totalCount edges { node { id mean labels { name value } } } pageInfo { hasPreviousPage }
    } }"""
SAMPLES = """query ($labels: [LabelFilter!], $state: SampleState) {
    samples(filter: {labels: $labels, state: $state}) { totalCount edges { node { id labels { name value } } } } }"""
SUMMARY = "query ($labels: [LabelFilter!]) { resultsSummary(filter: {labels: $labels}) { results mean } }"
SITES, UNITS = ("bern", "zürich"), ("V", "A")


class Sensors:
    """Four sensors, one per site and unit, with two samples each, and a sample without labels."""

    def __init__(self, stack: Stack, submitter: str) -> None:
        self.stack, self.submitter = stack, submitter
        self.key = stack.new_key(submitter, "submit,read,admin")
        self.client = httpx.Client(base_url=stack.url, headers={"x-api-key": self.key}, timeout=30)
        self.samples = [
            {
                "time_stamp": f"2019-05-01T0{day}:00:00Z",
                "data": [10 * number + day],
                "labels": {"site": site, "unit": unit},
            }
            for number, (site, unit) in enumerate((site, unit) for site in SITES for unit in UNITS)
            for day in (1, 2)
        ] + [{"time_stamp": "2019-05-01T00:00:00Z", "data": [99]}]
        self.receipts = self.post("".join(json.dumps(sample) + "\n" for sample in self.samples))
        self.wait(len(self.samples))

    def post(self, lines: str, **headers: str) -> list[Any]:
        """Submit the lines of an NDJSON body; return the receipts."""
        kind = {"content-type": "application/x-ndjson", **headers}
        return [json.loads(line) for line in self.client.post("/samples", content=lines, headers=kind).iter_lines()]

    def wait(self, count: int) -> None:
        """Wait until `count` results are stored."""
        eventually(lambda: self.query(RESULTS)["results"]["totalCount"] == count, lambda: self.stack.log)

    def query(self, document: str, **variables: Any) -> Any:
        """Return the data of a response."""
        return self.stack.graphql(document, variables, key=self.key)

    def error(self, document: str, **variables: Any) -> Any:
        """Return the only error of a response."""
        (error,) = self.stack.post_graphql(document, variables, key=self.key).json()["errors"]
        return error

    def means(self, **variables: Any) -> list[float]:
        """Return the means of the results."""
        return [edge["node"]["mean"] for edge in self.query(RESULTS, **variables)["results"]["edges"]]


def wanted(**given: str) -> list[dict[str, str]]:
    """Return a filter by labels."""
    return [{"name": name, "value": value} for name, value in given.items()]


@pytest.fixture(scope="module")
def sensors(stack: Stack) -> Iterator[Sensors]:
    """Return sensors whose samples are computed."""
    sensors = Sensors(stack, "labelled-sensors")
    yield sensors
    sensors.client.close()


def test_results_are_selected_by_any_combination_of_labels(sensors: Sensors) -> None:
    """All labels of a filter must be present. Ranges narrow the selection further."""
    assert sensors.means(labels=wanted(site="zürich")) == [32, 22, 31, 21]
    assert sensors.means(labels=wanted(site="zürich", unit="A")) == [32, 31]
    assert sensors.means(labels=wanted(unit="A", site="zürich"), mean={"gt": 31}) == [32]
    assert sensors.means(labels=wanted(site="basel")) == []
    assert len(sensors.means(labels=[])) == 9


def test_results_with_labels_are_read_from_both_ends(sensors: Sensors) -> None:
    """The earliest comes first on request, and `last` reads from the end of the list."""
    ascending = {"field": "TIMESTAMP", "direction": "ASC"}
    last = sensors.query(RESULTS, labels=wanted(site="bern", unit="V"), last=1)["results"]

    assert sensors.means(labels=wanted(site="bern", unit="V"), order=ascending) == [1, 2]
    assert [edge["node"]["mean"] for edge in last["edges"]] == [1]
    assert (last["totalCount"], last["pageInfo"]["hasPreviousPage"]) == (2, True)


def test_an_order_without_an_index_is_refused_with_the_orders_that_have_one(sensors: Sensors) -> None:
    """An index per order would have up to 15 entries per result."""
    error = sensors.error(RESULTS, labels=wanted(site="bern"), order={"field": "MEAN"})

    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert "can be ordered only by `timestamp`" in error["message"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (wanted(Site="x"), "filter.labels"),
        (wanted(site=""), "filter.labels.site"),
        (wanted(a="1", b="2", c="3", d="4", e="5"), "filter.labels"),
        ([*wanted(site="a"), *wanted(site="b")], "filter.labels"),
    ],
)
def test_an_invalid_filter_by_labels_is_refused(sensors: Sensors, given: Any, path: str) -> None:
    """The message names the label."""
    error = sensors.error(RESULTS, labels=given)

    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert f"`{path}`" in error["message"]


def test_samples_are_selected_by_labels_and_state(sensors: Sensors) -> None:
    """A rejected sample keeps its valid labels."""
    labels = {"site": "lausanne"}
    (rejected,) = sensors.post(json.dumps({"time_stamp": "never", "data": [1], "labels": labels}))

    both = sensors.query(SAMPLES, labels=wanted(site="bern", unit="A"))["samples"]
    states = {
        state: sensors.query(SAMPLES, labels=wanted(**labels), state=state)["samples"]["totalCount"]
        for state in ("REJECTED", "PENDING", "COMPUTED", "FAILED")
    }

    assert both["totalCount"] == 2
    assert both["edges"][0]["node"]["labels"] == wanted(site="bern", unit="A")
    assert (rejected["state"], rejected["labels"]) == ("REJECTED", labels)
    assert states == {"REJECTED": 1, "PENDING": 0, "COMPUTED": 0, "FAILED": 0}
    assert sensors.query(SAMPLES, labels=wanted(unit="V"), state="COMPUTED")["samples"]["totalCount"] == 4


def test_a_subscription_returns_the_results_with_the_labels(stack: Stack) -> None:
    """Results that are already stored and new ones pass the same filter."""
    sensors = Sensors(stack, "subscribed-sensors")
    stored = sensors.query(
        "{ results(orderBy: {field: COMPUTED_AT}) { edges { cursor node { id labels { value } } } } }"
    )
    first, *later = stored["results"]["edges"]
    wanted_ids = [edge["node"]["id"] for edge in later if {"value": "zürich"} in edge["node"]["labels"]]
    watch = """subscription ($filter: ResultFilter, $after: String) {
        results(filter: $filter, after: $after) { node { id } } }"""
    new = {"time_stamp": "2019-05-02T00:00:00Z", "data": [7]}
    for site in ("basel", "zürich"):
        (receipt,) = sensors.post(json.dumps({**new, "labels": {"site": site, "unit": "K"}}))
        stack.wait_for(receipt["id"], key=sensors.key)
    variables = {"filter": {"labels": wanted(site="zürich")}, "after": first["cursor"]}

    events = first_events(stack, sensors.key, watch, variables, len(wanted_ids) + 1)
    sensors.client.close()

    received = [event["results"]["node"]["id"] for event in events]
    assert set(received[:-1]) == set(wanted_ids)
    assert received[-1] == receipt["id"]


def test_a_summary_covers_the_results_with_the_labels(sensors: Sensors) -> None:
    """The mean is that of all values of these results."""
    assert sensors.query(SUMMARY, labels=wanted(unit="V"))["resultsSummary"] == {"results": 4, "mean": 11.5}


@pytest.mark.parametrize("file_format", ["ndjson", "csv"])
def test_an_export_has_labels_and_is_selected_by_labels(sensors: Sensors, file_format: str) -> None:
    """The parameter `label.NAME` selects results. CSV has the labels as JSON."""
    parameters = {"label.site": "zürich", "label.unit": "V", "order_by": "timestamp", "format": file_format}
    response = sensors.client.get("/results", params=parameters)
    refused = sensors.client.get("/results", params={"label.site": "bern", "order_by": "mean"})

    if file_format == "ndjson":
        rows = [json.loads(line) for line in response.iter_lines()]
        assert [(row["mean"], row["labels"]) for row in rows] == [
            (21, {"site": "zürich", "unit": "V"}),
            (22, {"site": "zürich", "unit": "V"}),
        ]
    else:
        labels = [row["labels"] for row in csv.DictReader(response.text.splitlines())]
        assert labels == ['{"site":"zürich","unit":"V"}'] * 2
    assert (refused.status_code, refused.json()["error"]["extensions"]["code"]) == (400, "BAD_REQUEST")


GROUPS = """query ($by: [String!]!, $labels: [LabelFilter!]) {
    labelNames  labelValues(name: "site")
    resultsSummary(groupBy: $by, filter: {labels: $labels}) { results groups { labels { value } results mean } }
    resultsOverTime(groupBy: $by, bucket: DAY, filter: {labels: $labels}) { start labels { value } values }
    latestResults(groupBy: $by, filter: {labels: $labels}) { mean labels { value } } }"""


def values_of(group: Any) -> tuple[str, ...]:
    """Return the values of the labels of a group."""
    return tuple(label["value"] for label in group["labels"])


def test_results_are_summarized_per_group_and_the_newest_of_each_is_found(stack: Stack) -> None:
    """Results without the label form a group of a summary. They have no newest result by label."""
    sensors = Sensors(stack, "grouped-sensors")
    sensors.client.close()

    by_site = sensors.query(GROUPS, by=["site"])
    by_both = sensors.query(GROUPS, by=["site", "unit"], labels=wanted(unit="A"))

    assert (by_site["labelNames"], by_site["labelValues"]) == (["site", "unit"], ["bern", "zürich"])
    assert {values_of(each): (each["results"], each["mean"]) for each in by_site["resultsSummary"]["groups"]} == {
        ("bern",): (4, 6.5),
        ("zürich",): (4, 26.5),
        (): (1, 99),
    }
    assert {values_of(each): each["values"] for each in by_site["resultsOverTime"]} == {
        ("bern",): 4,
        ("zürich",): 4,
        (): 1,
    }
    assert [(each["mean"], values_of(each)) for each in by_site["latestResults"]] == [
        (12, ("bern", "A")),
        (32, ("zürich", "A")),
    ]
    assert [(each["mean"], values_of(each)) for each in by_both["latestResults"]] == [
        (12, ("bern", "A")),
        (32, ("zürich", "A")),
    ]
    assert by_both["resultsSummary"]["results"] == 4


def test_the_newest_result_of_a_group_is_found_after_thousands_that_do_not_match(stack: Stack) -> None:
    """The server checks a range of the median after reading. It reads up to 2,000 results at a time."""
    key = stack.new_key("far-result", "submit,read")
    write_results(stack, "far-result", [datetime(2019, 5, 2, tzinfo=UTC)] * 2_000, {"site": "bern"})
    oldest = {"time_stamp": "2019-05-01T00:00:00Z", "data": [5], "labels": {"site": "bern"}}
    stack.wait_for(stack.submit(oldest, key=key)["id"], key=key)
    assert stack.graphql(RESULTS, key=key)["results"]["totalCount"] == 2_001
    query = '{ latestResults(groupBy: ["site"], filter: {median: {gte: 5}}) { mean } }'

    assert stack.graphql(query, key=key)["latestResults"] == [{"mean": 5}]


def test_the_newest_result_of_each_of_many_series_is_found_if_few_series_have_most_results(stack: Stack) -> None:
    """Results of several series are read together. A series with many new results hides those of the others."""
    key = stack.new_key("many-series", "read")
    client = stack.firestore()
    batch = client.batch()
    newest: dict[str, float] = {}
    for number in range(65):
        given = {"sensor": f"sensor {number:02}", "site": "bern"}
        name = labels.term(given)
        batch.set(client.document(document_paths.series("many-series", name)), {"labels": given})
        for turn in range(100 if number == 3 else number % 3):
            moment = datetime(2026, 1, 3 if number == 3 else 2, tzinfo=UTC) + timedelta(minutes=turn, seconds=number)
            mean = float(100 * number + turn)
            if mean <= 6_000:
                newest[given["sensor"]] = mean
            statistics = Statistics(1, mean, 0.0, mean, mean)
            result = Result("many-series", str(uuid4()), moment, 0, Status.COMPUTED, moment, statistics, labels=given)
            stored = result.fields() | {"computed_at": moment}
            batch.set(client.document(document_paths.result("many-series", result.sample_id)), stored)
    batch.commit()
    query = '{ latestResults(groupBy: ["sensor"], filter: {mean: {lte: 6000}}) { mean labels { value } } }'

    found = stack.graphql(query, key=key)["latestResults"]

    assert [(values_of(each)[0], each["mean"]) for each in found] == sorted(newest.items())


@pytest.mark.parametrize("names", [[], ["Site"], ["a", "a"], ["a", "b", "c", "d", "e"]])
def test_groups_need_one_to_four_names_of_labels(sensors: Sensors, names: list[str]) -> None:
    """The message names the argument."""
    error = sensors.error("query ($by: [String!]!) { latestResults(groupBy: $by) { id } }", by=names)

    assert error["extensions"]["code"] == "BAD_REQUEST"
    assert "`groupBy" in error["message"]


@pytest.mark.parametrize("name", ["Dev", "", "1st", "a" * 33])
def test_values_of_a_name_that_no_label_can_have_are_refused(stack: Stack, name: str) -> None:
    """An empty list would hide the misspelling."""
    response = stack.post_graphql("query ($name: String!) { labelValues(name: $name) }", {"name": name}).json()

    assert response["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert response["errors"][0]["message"].endswith(f"got {name or 'an empty name'} - at `name`")

"""Old results are recomputed, and clients can query and watch the progress."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from google.cloud.firestore import DELETE_FIELD

from storage.documents import STATISTICS_VERSION, document_paths
from tests.stack import Stack, eventually, suspended

SAMPLE = {"time_stamp": "2020-01-01T00:00:00Z", "data": [1, 2, 4]}
RECOMPUTE = (
    "mutation ($ids: [ID!], $filter: ResultFilter) "
    "{ recompute(ids: $ids, filter: $filter) { id state requested done startedAt updatedAt } }"
)
PROGRESS = "($id: ID!) { recomputation(id: $id) { id state requested done } }"
RESULT = "query ($id: ID!) { result(id: $id) { mean median statisticsVersion } }"
RESULTS = (
    "query ($filter: ResultFilter) { results(filter: $filter) { totalCount edges { node { id statisticsVersion } } } }"
)


class Station:
    """A submitter with computed samples, and a key with all scopes."""

    def __init__(self, stack: Stack, submitter: str, count: int) -> None:
        self.stack, self.submitter = stack, submitter
        self.key = stack.new_key(submitter, "submit,read,admin")
        self.ids = [stack.submit(SAMPLE, key=self.key)["id"] for _ in range(count)]
        eventually(lambda: self.query(RESULTS)["results"]["totalCount"] == count, lambda: stack.log)

    def query(self, document: str, **variables: Any) -> Any:
        """Return the data of a response."""
        return self.stack.graphql(document, variables, key=self.key)

    def code(self, query: str, **variables: Any) -> str:
        """Return the code of the only error of a response."""
        (error,) = self.stack.post_graphql(query, variables, key=self.key).json()["errors"]
        return str(error["extensions"]["code"])

    def make_old(self, sample_id: str) -> None:
        """Change a result to one of version 1, with a wrong mean that identifies it."""
        result = self.stack.firestore().document(document_paths.result(self.submitter, sample_id))
        result.update({"statistics_version": 1, "mean": 7.0, "median": DELETE_FIELD, "sketch": DELETE_FIELD})

    def progress(self, recomputation_id: str) -> Any:
        """Return the progress of a recomputation."""
        return self.query("query " + PROGRESS, id=recomputation_id)["recomputation"]

    def recompute(self, **variables: Any) -> Any:
        """Start a recomputation and return it when it is no longer RUNNING."""
        started = self.query(RECOMPUTE, **variables)["recompute"]
        assert (started["state"], started["requested"], started["done"]) == ("RUNNING", 0, 0)
        return eventually(
            lambda: (now := self.progress(started["id"]))["state"] != "RUNNING" and now, lambda: self.stack.log
        )


def test_only_old_results_are_recomputed(stack: Stack) -> None:
    """Until then they are listed like all results."""
    station = Station(stack, "old-and-new", 3)
    old, new = station.ids[:2], station.ids[2]
    for sample_id in old:
        station.make_old(sample_id)
    computed_at = stack.firestore().document(document_paths.result("old-and-new", new)).get().get("computed_at")

    before = station.query(RESULTS)["results"]
    with_median = station.query(RESULTS, filter={"median": {"gte": 0}})["results"]
    summary = "{ resultsSummary { resultsWithoutSketch median percentile99 } }"
    quantiles_before = station.query(summary)["resultsSummary"]
    ended = station.recompute()

    assert quantiles_before == {"resultsWithoutSketch": 2, "median": None, "percentile99": None}
    quantiles = station.query(summary)["resultsSummary"]
    assert quantiles["resultsWithoutSketch"] == 0
    assert quantiles["median"] == pytest.approx(2, rel=0.010001)
    assert sorted(edge["node"]["statisticsVersion"] for edge in before["edges"]) == [1, 1, STATISTICS_VERSION]
    assert [edge["node"]["id"] for edge in with_median["edges"]] == [new]
    assert (ended["state"], ended["requested"], ended["done"]) == ("FINISHED", 2, 2)
    for sample_id in station.ids:
        result = station.query(RESULT, id=sample_id)["result"]
        assert result == {"mean": 7 / 3, "median": 2, "statisticsVersion": STATISTICS_VERSION}
    assert stack.firestore().document(document_paths.result("old-and-new", new)).get().get("computed_at") == computed_at


def test_results_are_selected_by_filter_or_by_id(stack: Stack) -> None:
    """A filter selects outdated results only. Without outdated results, the recomputation is empty."""
    station = Station(stack, "some-of-them", 2)
    station.make_old(station.ids[0])

    outside, inside, by_id, nothing = (
        station.recompute(filter={"mean": {"lt": 5}}),
        station.recompute(filter={"mean": {"gt": 5}}),
        station.recompute(ids=[station.ids[1], station.ids[1]]),
        station.recompute(),
    )

    assert [(each["state"], each["done"]) for each in (outside, inside, by_id, nothing)] == [
        ("FINISHED", 0),
        ("FINISHED", 1),
        ("FINISHED", 1),
        ("FINISHED", 0),
    ]


def test_samples_that_stay_pending_are_recomputed(stack: Stack) -> None:
    """The event of a sample can be lost. A sample that was submitted just now is left to its event."""
    station = Station(stack, "without-result", 2)
    firestore = stack.firestore()
    old, new = (firestore.document(document_paths.sample("without-result", each)) for each in station.ids)
    results = [firestore.document(document_paths.result("without-result", each)) for each in station.ids]
    old.update({"submitted_at": datetime.now(UTC) - timedelta(minutes=1)})
    updated = old.get().update_time
    eventually(lambda: results[0].get().get("sample_update_time") == updated, lambda: stack.log)
    new.update({"submitted_at": datetime.now(UTC) + timedelta(minutes=1)})
    updated = new.get().update_time
    eventually(lambda: results[1].get().get("sample_update_time") == updated, lambda: stack.log)
    for result in results:
        result.delete()

    ended = station.recompute()

    assert (ended["state"], ended["requested"], ended["done"]) == ("FINISHED", 1, 1)
    assert [station.query(RESULT, id=each)["result"] is None for each in station.ids] == [False, True]


def test_a_subscription_reports_the_progress_until_the_end(stack: Stack) -> None:
    """The subscription then completes."""
    station = Station(stack, "recomputed-and-watched", 1)
    station.make_old(station.ids[0])
    started = station.query(RECOMPUTE)["recompute"]

    request = {"query": "subscription " + PROGRESS, "variables": {"id": started["id"]}}
    headers = {"x-api-key": station.key, "accept": "text/event-stream"}
    response = httpx.post(f"{stack.url}/graphql", json=request, headers=headers, timeout=30).text

    shown = [json.loads(line.removeprefix("data:")) for line in response.splitlines() if line.startswith("data: {")]
    last = shown[-1]["data"]["recomputation"]
    assert last == {"id": started["id"], "state": "FINISHED", "requested": 1, "done": 1}


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"ids": ["00000000-0000-4000-8000-000000000000"]}, "NOT_FOUND"),
        ({"ids": ["nonsense"]}, "NOT_FOUND"),
        ({"ids": [], "filter": {}}, "BAD_REQUEST"),
        ({"ids": ["x"] * 1001}, "BAD_REQUEST"),
    ],
)
def test_invalid_arguments_are_rejected(stack: Stack, variables: Any, code: str) -> None:
    """No sample is touched."""
    key = stack.new_key("refused", "admin")

    (error,) = stack.post_graphql(RECOMPUTE, variables, key=key).json()["errors"]

    assert error["extensions"]["code"] == code
    assert "`ids" in error["message"]


def test_a_rejected_sample_cannot_be_recomputed(stack: Stack) -> None:
    """It never has a result."""
    rejected = stack.submit({"data": []})["id"]

    (error,) = stack.post_graphql(RECOMPUTE, {"ids": [rejected]}).json()["errors"]

    assert error["extensions"]["code"] == "NOT_FOUND"


def test_recomputation_requires_the_scope_admin(stack: Stack) -> None:
    """So does the query of the progress."""
    key = stack.new_key("no-admin")

    for query, variables in ((RECOMPUTE, {}), ("query " + PROGRESS, {"id": "x"})):
        (error,) = stack.post_graphql(query, variables, key=key).json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert "`admin`" in error["message"]


def test_an_interrupted_recomputation_is_continued_by_the_next_one(disturbed_stack: Stack) -> None:
    """The API is restarted while the function is stopped."""
    station = Station(disturbed_stack, "interrupted", 2)
    for sample_id in station.ids:
        station.make_old(sample_id)
    with suspended(disturbed_stack.function_pid()):
        started = station.query(RECOMPUTE)["recompute"]
        eventually(lambda: station.progress(started["id"])["requested"] == 2)
        assert station.code(RECOMPUTE) == "RATE_LIMITED"

        api = disturbed_stack.api_pid()
        os.kill(api, signal.SIGTERM)
        eventually(lambda: disturbed_stack.pids_of("-m graphql_api") not in ([], [api]) and disturbed_stack.is_ready())
        interrupted = station.progress(started["id"])
    ended = station.recompute()

    assert (interrupted["state"], interrupted["done"]) == ("INTERRUPTED", 0)
    assert ended["state"] == "FINISHED"
    for sample_id in station.ids:
        assert station.query(RESULT, id=sample_id)["result"]["statisticsVersion"] == STATISTICS_VERSION

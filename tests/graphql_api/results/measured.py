"""Sixty computed samples and two rejected ones, for tests of lists, pages and summaries."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from google.cloud.firestore import SERVER_TIMESTAMP

from storage.documents import Labels, Result, Statistics, Status, document_paths
from tests.stack import Stack, eventually

PAGE = """
query ($filter: ResultFilter, $orderBy: ResultOrder, $first: Int, $after: String, $last: Int, $before: String) {
  results(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node {
      id timestamp count mean standardDeviation minimum maximum median sample { id state timeStamp }
    } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}
"""
SAMPLES = """
query ($filter: SampleFilter, $first: Int, $after: String, $last: Int, $before: String) {
  samples(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
    edges { cursor node { id state problems { path } result { mean } } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    totalCount
  }
}
"""
FIELDS = {
    "COUNT": "count",
    "MAXIMUM": "maximum",
    "MEAN": "mean",
    "MINIMUM": "minimum",
    "STANDARD_DEVIATION": "standardDeviation",
    "TIMESTAMP": "timestamp",
    "MEDIAN": "median",
}
"""The fields that results are ordered by. All others except the median follow in this order."""


class Measured:
    """A submitter with sixty computed samples and two rejected ones."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.key = stack.new_key("measured")
        self.samples: list[dict[str, Any]] = [
            {
                "time_stamp": f"2020-01-{1 + number % 7:02d}T00:00:00+0{number % 3}:00",
                "data": [float(number % 5), *([float(number % 4)] * (number % 6))],
            }
            for number in (*range(30), *range(30))  # twice, so that pages also end between equal results
        ]
        mutation = "mutation ($samples: [RawSample!]!) { submitMany(samples: $samples) { id state } }"
        variables = {"samples": [*self.samples, {"data": []}, 7]}
        self.receipts = stack.graphql(mutation, variables, key=self.key)["submitMany"]
        self.rejected = [receipt["id"] for receipt in self.receipts if receipt["state"] == "REJECTED"]
        self.results = eventually(self._all_results)

    def _all_results(self) -> list[dict[str, Any]]:
        results = [edge["node"] for edge in self.page(first=500)["edges"]]
        return results if len(results) == 60 else []

    def page(self, query: str = PAGE, **variables: Any) -> Any:
        """Return a page of results, or the page of another `query`."""
        (page,) = self.stack.graphql(query, variables, key=self.key).values()
        return page

    def pages(self, first: int, query: str = PAGE, **variables: Any) -> list[str]:
        """Return the ids of all pages of size `first`, read forward."""
        ids: list[str] = []
        after = None
        while True:
            page = self.page(query, first=first, after=after, **variables)
            assert page["pageInfo"]["hasPreviousPage"] == bool(ids)
            ids += [edge["node"]["id"] for edge in page["edges"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                assert page["totalCount"] == len(ids)
                return ids

    def pages_backward(self, last: int, query: str = PAGE, **variables: Any) -> list[str]:
        """Return the ids of all pages of size `last`, read backward."""
        ids: list[str] = []
        before = None
        while True:
            page = self.page(query, last=last, before=before, **variables)
            assert page["pageInfo"]["hasNextPage"] == bool(ids)
            ids = [edge["node"]["id"] for edge in page["edges"]] + ids
            before = page["pageInfo"]["startCursor"]
            if not page["pageInfo"]["hasPreviousPage"]:
                return ids


def write_results(
    stack: Stack, submitter: str, timestamps: Iterable[datetime], given: Labels | None = None, **further: Any
) -> None:
    """Store a result of one value, 1, for each of `timestamps`, in one shard, without samples and with given labels.

    `further` replaces fields of the results.
    """
    statistics = Statistics(1, 1.0, 0.0, 1.0, 1.0, median=1.0)
    client = stack.firestore()
    batch = client.batch()
    for timestamp in timestamps:
        result = Result(
            submitter, str(uuid4()), datetime.now(UTC), 0, Status.COMPUTED, timestamp, statistics, labels=given or {}
        )
        stored = result.fields() | {"computed_at": SERVER_TIMESTAMP} | further
        batch.set(client.document(document_paths.result(submitter, result.sample_id)), stored)
        if len(batch) == 200:
            batch.commit()
            batch = client.batch()
    batch.commit()

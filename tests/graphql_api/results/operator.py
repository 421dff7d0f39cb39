"""A submitter that deletes and corrects its samples."""

from functools import partial
from typing import Any

from google.cloud.firestore import Client

from storage.documents import document_paths
from tests.stack import Stack, eventually

DELETE = """mutation ($ids: [ID!], $filter: SampleFilter, $reason: String! = "wrong sensor") {
    deleteSamples(ids: $ids, filter: $filter, reason: $reason) { id state deleted reason } }"""
PROGRESS = "query ($id: ID!) { deletion(id: $id) { state deleted } }"
COUNTS = """{ samples { totalCount } results { totalCount } resultsSummary { results median }
    pending: samples(filter: {state: PENDING}) { totalCount }
    deleted: samples(filter: {state: DELETED}) { totalCount } }"""
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2], "labels": {"site": "bern"}}


class Operator:
    """A submitter with computed samples, and a key with all scopes."""

    def __init__(self, stack: Stack, submitter: str, samples: list[Any]) -> None:
        self.stack, self.submitter = stack, submitter
        self.key = stack.new_key(submitter, "submit,read,admin")
        self.ids = [stack.submit(sample, key=self.key)["id"] for sample in samples]
        for sample_id in self.ids:
            eventually(partial(self._is_final, sample_id), lambda: stack.log)

    def fail(self, firestore: Client, sample_id: str) -> None:
        """Damage a computed sample, and delete its result, so that the sample becomes FAILED."""
        firestore.document(document_paths.sample(self.submitter, sample_id)).update({"raw": "{}"})
        firestore.document(document_paths.result(self.submitter, sample_id)).delete()
        firestore.document(document_paths.sample(self.submitter, sample_id)).update({"count": 0})  # triggers again
        self.stack.wait_for(sample_id, "FAILED", key=self.key)

    def _is_final(self, sample_id: str) -> bool:
        return bool(self.stack.sample(sample_id, key=self.key)["state"] != "PENDING")

    def query(self, document: str, **variables: Any) -> Any:
        """Return the data of a response."""
        return self.stack.graphql(document, variables, key=self.key)

    def error(self, document: str, **variables: Any) -> Any:
        """Return the only error of a response."""
        (error,) = self.stack.post_graphql(document, variables, key=self.key).json()["errors"]
        return error

    def delete(self, **variables: Any) -> Any:
        """Delete samples; return the progress when it has ended."""
        started = self.query(DELETE, **variables)["deleteSamples"]
        assert (started["state"], started["deleted"], started["reason"]) == ("RUNNING", 0, "wrong sensor")
        return eventually(
            lambda: (now := self.query(PROGRESS, id=started["id"])["deletion"])["state"] != "RUNNING" and now,
            lambda: self.stack.log,
        )

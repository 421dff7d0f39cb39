"""The documents of a recomputation: its record, the samples to recompute, and their results."""

from collections.abc import Collection, Mapping
from datetime import datetime

from graphql_api.results.jobs.job_records import JobRecords
from graphql_api.results.recomputation.recomputation import Recomputation
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.retriggering import trigger_again
from storage.firestore.writes.group_commit_writer import GroupCommitWriter


class RecomputationStore(JobRecords[Recomputation]):
    """Reads and writes the documents of one submitter. Callers pass the submitter of the authenticated credential."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        super().__init__(firestore, writer, document_paths.recomputation, Recomputation.from_fields)

    async def trigger_again(self, submitter: str, ids: Collection[str]) -> Mapping[str, datetime]:
        """Write the headers of samples again, which triggers the function. Return the time of each write by sample id.

        Samples that do not exist or have expired, and REJECTED samples, are skipped.
        """
        return await trigger_again(self._firestore, self._writer, submitter, ids)

    async def computed_from(self, submitter: str, ids: Collection[str]) -> Mapping[str, datetime]:
        """Return, by sample id, the update time that the sample had when its current result was computed."""
        paths = {document_paths.result(submitter, sample_id): sample_id for sample_id in ids}
        results = await self._firestore.batch_get(paths, mask=["sample_update_time"])
        return {paths[path]: encoding.field_time(result, "sample_update_time") for path, result in results.items()}

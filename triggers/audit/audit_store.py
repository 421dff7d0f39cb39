"""The audit's access to Firestore: the samples, results, states and findings that it needs."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from storage.documents import OUTCOMES, Arrival, Status, belongs_to_sample, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import DamagedDocument
from storage.firestore.messages import Document, StructuredQuery
from storage.firestore.reads.query_conditions import add_condition, add_name_condition
from storage.firestore.retriggering import trigger_again
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from triggers.audit.audit_documents import AuditState, Finding
from triggers.audit.audit_reads import AuditReads, log_damage
from triggers.audit.comparison import Counts, Partition
from triggers.audit.window import Window

_Operator = StructuredQuery.FieldFilter

_ALL_TIMES = Window(datetime.fromtimestamp(0, UTC), datetime.max.replace(tzinfo=UTC))
_MAX_FINDINGS = 1_000
_COMPUTED = (Status.COMPUTED.value, Status.SUPERSEDED.value)

logger = logging.getLogger("triggers")


class AuditStore:
    """The documents of all submitters. Every method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, *, shards: int) -> None:
        self._firestore = firestore
        self._writer = writer
        self._shards = range(shards)
        self.reads = AuditReads(firestore)

    async def now(self) -> datetime:
        """Return the time of Firestore's clock."""
        self.reads.billed += 1
        return await self._firestore.now()

    async def partitions(self) -> list[Partition]:
        """Return the partitions of all submitters that have documents."""
        submitters = await self._firestore.document_ids(document_paths.SUBMITTERS)
        self.reads.billed += max(1, len(submitters))
        return [Partition(submitter, shard) for submitter in submitters for shard in self._shards]

    async def counts(self, partition: Partition, window: Window) -> Counts:
        """Return the numbers of accepted samples and of results that were submitted in a window."""
        samples = await self._count(partition, document_paths.SAMPLES, window)
        return Counts(samples, await self._count(partition, document_paths.RESULTS, window) if samples else 0)

    async def oldest_sample(self, partition: Partition) -> datetime | None:
        """Return the time at which the first accepted sample was submitted, or the epoch if this sample is damaged."""
        try:
            documents = await self._samples(partition, None, limit=1)
        except DamagedDocument as error:
            log_damage("the first run starts at the epoch", error)
            return _ALL_TIMES.start
        return min((encoding.field_time(each, "submitted_at") for each in documents), default=None)

    async def sample_ids(self, partition: Partition, window: Window) -> list[str]:
        """Return the ids of the accepted samples that were submitted in a window and have not expired.

        Firestore may have deleted the result of an expired sample first.
        """
        documents = await self.reads.undamaged(partial(self._samples, partition), window)
        now = await self._firestore.estimated_now()
        return [document_paths.id_of(document.name) for document in documents if not encoding.is_expired(document, now)]

    async def superseded_ids(self, window: Window, limit: int | None) -> dict[str, list[str]]:
        """Return the ids of the accepted samples that other samples have corrected in a window, by submitter.

        Each shard returns up to `limit` ids.
        """
        found: dict[str, list[str]] = defaultdict(list)
        reads = [partial(self._superseded, shard, limit) for shard in self._shards]
        for documents in await asyncio.gather(*(self.reads.undamaged(read, window) for read in reads)):
            for document in documents:
                *_, submitter, _, sample_id = document.name.split("/")
                found[submitter].append(sample_id)
        return found

    async def without_result(self, submitter: str, sample_ids: Sequence[str]) -> list[str]:
        """Return the samples that have no result, or only an outdated one, as described for `outcomes`."""
        outcomes = await self.outcomes(submitter, sample_ids)
        return [sample_id for sample_id in sample_ids if sample_id not in outcomes]

    async def outcomes(self, submitter: str, sample_ids: Sequence[str]) -> dict[str, Status | None]:
        """Return the status of the result of each sample that has one, by id. A deleted sample has a tombstone.

        The status of a damaged result is None. The function cannot replace such a result.

        The result of an earlier sample with the same id does not count. The result of a corrected sample does not count
        either if it does not name the correction.
        """
        paths = {document_paths.result(submitter, sample_id): sample_id for sample_id in sample_ids}
        documents = await self.reads.existing(paths, "status", "sample_update_time", "submitted_at", "superseded_by")
        results = {
            paths[path]: {} if document is None else encoding.from_document(document)
            for path, document in documents.items()
        }
        samples = {document_paths.sample(submitter, sample_id): sample_id for sample_id in results}
        for path, sample in (await self.reads.existing(samples, "submitted_at", "superseded_by")).items():
            if sample is None:
                continue
            result = results[samples[path]]
            correction = encoding.from_document(sample).get("superseded_by")
            is_outdated = correction not in (None, result.get("superseded_by")) and result.get("status") in _COMPUTED
            if is_outdated or not belongs_to_sample(result, encoding.field_time(sample, "submitted_at")):
                del results[samples[path]]
        return {sample_id: _status(submitter, sample_id, fields) for sample_id, fields in results.items()}

    async def existing_samples(self, submitter: str, sample_ids: Sequence[str]) -> list[str]:
        """Return the samples that exist and have not expired. Samples with a damaged header are left out."""
        paths = {document_paths.sample(submitter, sample_id): sample_id for sample_id in sample_ids}
        existing = await self.reads.existing(paths, "state_on_arrival", "expire_at")
        now = await self._firestore.estimated_now()
        return [
            paths[path]
            for path, sample in existing.items()
            if sample is not None and not encoding.is_expired(sample, now)
        ]

    async def trigger(self, submitter: str, sample_ids: Sequence[str]) -> int:
        """Trigger the function for these samples again. Return the number of samples that were triggered."""
        self.reads.billed += len(sample_ids)
        return len(await trigger_again(self._firestore, self._writer, submitter, sample_ids))

    async def read_state(self) -> AuditState | None:
        """Return the stored state, or None before the first run."""
        path = document_paths.audit()
        self.reads.billed += 1
        document = (await self._firestore.batch_get([path])).get(path)
        if document is None:
            return None
        return AuditState.from_fields(encoding.from_document(document), encoding.to_datetime(document.update_time))

    async def write_state(self, state: AuditState) -> AuditState:
        """Store the state, and return it with its new update time.

        Raises `PreconditionFailed` if another instance has changed it.
        """
        name = self._firestore.name(document_paths.audit())
        written = await self._writer.write(encoding.to_conditional_write(name, state.fields(), state.update_time))
        return replace(state, update_time=encoding.to_datetime(written.update_time))

    async def findings(self) -> list[Finding]:
        """Return the oldest findings, without damaged ones."""
        documents = await self.reads.undamaged(self._findings, _ALL_TIMES)
        return [
            Finding.from_fields(document_paths.id_of(document.name), encoding.from_document(document))
            for document in documents[:_MAX_FINDINGS]
        ]

    async def write_finding(self, finding: Finding) -> None:
        """Store a finding, or delete it if no sample is left in it."""
        name = self._firestore.name(document_paths.audit_finding(finding.id))
        write = encoding.to_write(name, finding.fields()) if finding.sample_ids else encoding.to_delete(name)
        await self._writer.write(write)

    async def _count(self, partition: Partition, collection: str, window: Window) -> int:
        query = _query_of(collection, partition.shard, window)
        return await self.reads.count(document_paths.submitter(partition.submitter), query)

    async def _findings(self, window: Window) -> list[Document]:
        """Return the oldest findings whose windows start in a window. Their ids start with this time."""
        query = StructuredQuery()
        query.from_.add(collection_id=document_paths.AUDIT_FINDINGS)
        for operator, time in (_Operator.GREATER_THAN_OR_EQUAL, window.start), (_Operator.LESS_THAN, window.end):
            path = document_paths.audit_finding(Finding.id_prefix(time))
            add_name_condition(query, operator, self._firestore.name(path))
        query.limit.value = _MAX_FINDINGS
        return await self.reads.documents("", query)

    async def _samples(self, partition: Partition, window: Window | None, limit: int | None = None) -> list[Document]:
        """Return samples of a partition, the earliest first."""
        query = _query_of(document_paths.SAMPLES, partition.shard, window)
        return await self._documents(document_paths.submitter(partition.submitter), query, "submitted_at", limit)

    async def _superseded(self, shard: int, limit: int | None, window: Window) -> list[Document]:
        """Return samples of all submitters that were corrected in a window, those that were corrected first.

        One query finds them for all submitters. The correction may have been deleted, so a submitter can have no other
        sample in the window.
        """
        query = _query_of(document_paths.SAMPLES, shard, window, by="superseded_at")
        query.from_[0].all_descendants = True
        return await self._documents("", query, "superseded_at", limit)

    async def _documents(self, parent: str, query: StructuredQuery, by: str, limit: int | None) -> list[Document]:
        """Return up to `limit` documents of a query in the order of the field `by`."""
        for name in ("submitted_at", "expire_at"):
            query.select.fields.add(field_path=name)
        query.order_by.add(direction=StructuredQuery.ASCENDING).field.field_path = by
        if limit is not None:
            query.limit.value = limit
        return await self.reads.documents(parent, query)


def _status(submitter: str, sample_id: str, fields: Mapping[str, object]) -> Status | None:
    """Return the status of a result, or None if the result is damaged."""
    if (status := fields.get("status")) in tuple(Status):
        return Status(str(status))
    if fields:  # otherwise the error is logged already
        logger.error("audit: the result of sample %s of %s has no known status", sample_id, submitter)
    return None


def _query_of(collection: str, shard: int, window: Window | None, by: str = "submitted_at") -> StructuredQuery:
    """Return a query for the accepted samples or the results of a shard whose time in the field `by` is in a window."""
    query = StructuredQuery()
    query.from_.add(collection_id=collection)
    add_condition(query, "shard", _Operator.EQUAL, shard)
    if collection == document_paths.SAMPLES:
        add_condition(query, "state_on_arrival", _Operator.EQUAL, Arrival.ACCEPTED.value)
    else:
        add_condition(query, "status", _Operator.IN, tuple(each.value for each in OUTCOMES))
    if window is not None:
        add_condition(query, by, _Operator.GREATER_THAN_OR_EQUAL, window.start)
        add_condition(query, by, _Operator.LESS_THAN, window.end)
    return query

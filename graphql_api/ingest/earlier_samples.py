"""Earlier samples to which a new sample refers: by the same idempotency key, or because it corrects them."""

from collections.abc import Sequence
from datetime import tzinfo
from functools import partial

from graphql_api.ingest.fair_executor import FairExecutor
from graphql_api.ingest.uploads import ReadHeaders
from storage.documents import BadRequest, Conflict, Header, NotFound, Sample, document_paths
from storage.documents.server_time import SERVER_TIME
from storage.documents.validation import payload
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.group_commit_writer import GroupCommitWriter

Outcome = Header | Exception
"""The header of a stored sample, or the reason why it was not stored."""


class EarlierSamples:
    """The stored samples of all submitters."""

    def __init__(
        self,
        firestore: Firestore,
        writer: GroupCommitWriter,
        read_headers: ReadHeaders,
        validators: FairExecutor,
        zone: tzinfo | None,
    ) -> None:
        self._firestore = firestore
        self._writer = writer
        self._read_headers = read_headers
        self._validators = validators
        self._zone = zone

    async def find(self, submitter: str, earlier_id: str, raw: bytes, idempotency_key: str | None) -> Header | None:
        """Return the sample that `raw` supersedes. Raises `NotFound` if it is not stored.

        Returns None if a sample with the idempotency key, or with the member `idempotency_key` of `raw`, is stored. The
        request is then repeated, and the earlier sample has been deleted since.
        """
        if idempotency_key is None:
            report = await self._validators.run(submitter, partial(payload.validate_quickly, raw, self._zone))
            idempotency_key = None if report is None else report.idempotency_key
        keyed_id = None if idempotency_key is None else document_paths.keyed_sample_id(submitter, idempotency_key)
        headers = await self._read_headers(submitter, {earlier_id, keyed_id or earlier_id})
        if earlier_id not in headers and keyed_id not in headers:
            raise NotFound(
                "the sample to supersede does not exist or has expired; if only its result exists, delete it with "
                "`deleteSamples` and submit this sample without `supersedes` - at `supersedes`"
            )
        return headers.get(earlier_id)

    async def supersede(self, earlier: Header, sample: Header) -> None:
        """Mark a sample as superseded. This triggers the function, which writes the result of this sample again.

        Raises `BadRequest` or `Conflict` if `sample` was stored before and cannot replace the earlier sample.
        """
        if earlier.superseded_by == sample.id:
            return
        if sample.id == earlier.id:
            raise BadRequest("a sample cannot supersede itself; send a new idempotency key - at `supersedes`")
        if sample.superseded_by is not None:  # both samples would be superseded, and lists would contain neither
            raise Conflict(
                f"this idempotency key was used for the sample {sample.id}, which is superseded itself; use a new key "
                "- at `supersedes`"
            )
        name = self._firestore.name(document_paths.sample(earlier.submitter, earlier.id))
        write = encoding.to_write(name, {"superseded_by": sample.id, "superseded_at": SERVER_TIME})
        write.update_mask.field_paths.append("superseded_by")
        write.current_document.exists = True
        await self._writer.write(write, earlier.submitter)

    async def resolve(self, samples: Sequence[Sample], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Replace each `PreconditionFailed` with the stored header or `Conflict`. One read gets all stored headers."""
        existing = [
            sample.header
            for sample, outcome in zip(samples, outcomes, strict=True)
            if isinstance(outcome, PreconditionFailed)
        ]
        try:
            stored = await self._read_headers(existing[0].submitter, {header.id for header in existing})
        except Exception as error:  # noqa: BLE001 - the error is the outcome of the samples that exist
            return [error if isinstance(outcome, PreconditionFailed) else outcome for outcome in outcomes]
        return [
            _resolve(sample.header, stored.get(sample.header.id))
            if isinstance(outcome, PreconditionFailed)
            else outcome
            for sample, outcome in zip(samples, outcomes, strict=True)
        ]


def _resolve(submitted: Header, stored: Header | None) -> Outcome:
    if stored is None or stored.sha256 != submitted.sha256:
        return Conflict("this idempotency key was used for another sample; use a new key for a new sample")
    return stored

"""Repeated samples: a client sends a sample again, with the idempotency key of the first request.

Both requests get the same id. The write of the header then fails, because each write requires that no header exists.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

from graphql_api.ingest.uploads import ReadHeaders
from storage.documents import Conflict, Header, Sample, Unavailable, has_expired
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.messages import Document, Write, WriteResult

Outcome = Header | Exception
"""The header of a stored sample, or the reason why it was not stored."""

Commit = Callable[[Sequence[Sample], Sequence[Write]], Awaitable[list[WriteResult | Exception]]]
"""Commits the writes of the headers of samples. Returns the `WriteResult` of each, or the reason why it failed."""


class RepeatedSamples:
    """Finds the outcomes of samples whose headers exist."""

    def __init__(self, firestore: Firestore, read_headers: ReadHeaders) -> None:
        self._firestore = firestore
        self._read_headers = read_headers

    async def resolve(
        self,
        samples: Sequence[Sample],
        writes: Sequence[Write],
        results: Sequence[WriteResult | Exception],
        commit: Commit,
    ) -> list[WriteResult | Outcome]:
        """Replace each `PreconditionFailed` in `results`, which are the results of `writes`.

        If a sample with this id is stored, return its header, or `Conflict` if its content differs. If it has expired,
        replace it with `commit`, and return the result of this write. One read gets all stored headers.
        """
        resolved: list[WriteResult | Outcome] = [*results]
        existing = [index for index, result in enumerate(results) if isinstance(result, PreconditionFailed)]
        try:
            headers = [samples[index].header for index in existing]
            expired = []
            for index, outcome in zip(existing, await self.outcomes(headers), strict=True):
                if outcome is None:
                    expired.append(index)
                else:
                    resolved[index] = outcome
            if expired:
                replaced = await self._replace_expired(
                    [samples[index] for index in expired], [writes[index] for index in expired], commit
                )
                for index, result in zip(expired, replaced, strict=True):
                    resolved[index] = result
        except Exception as error:  # noqa: BLE001 - the error is the outcome of the samples that exist
            return [error if isinstance(result, PreconditionFailed) else result for result in results]
        return resolved

    async def outcomes(self, headers: Sequence[Header]) -> list[Outcome | None]:
        """Return the outcome of each sample that is stored, and None for the others.

        Samples of one request can have the same idempotency key, and different content.
        """
        stored = await self._read_existing(headers[0].submitter, {header.id for header in headers})
        return [_resolve(header, stored[header.id]) if header.id in stored else None for header in headers]

    async def _read_existing(self, submitter: str, ids: Collection[str]) -> dict[str, Header]:
        """Return the headers that are stored and have not expired. Firestore deletes expired headers later."""
        headers = await self._read_headers(submitter, ids)
        now = await self._firestore.estimated_now()
        return {sample_id: header for sample_id, header in headers.items() if not has_expired(header.expire_at, now)}

    async def _replace_expired(
        self, samples: Sequence[Sample], writes: Sequence[Write], commit: Commit
    ) -> list[WriteResult | Exception]:
        """Write headers in the place of expired headers, which Firestore may have deleted since.

        A header that another request has stored in the meantime is not replaced.
        """
        paths = [self._firestore.path(write.update.name) for write in writes]
        stored, now = await self._firestore.batch_get(paths, mask=("expire_at",)), await self._firestore.estimated_now()
        for path, write in zip(paths, writes, strict=True):
            replace_if_expired(write, stored.get(path), now)
        results = await commit(samples, writes)
        changed = Unavailable(
            "a sample with this idempotency key was stored at the same time, or the upload of this sample was "
            "interrupted; send this sample again"
        )
        return [changed if isinstance(result, PreconditionFailed) else result for result in results]


def replace_if_expired(write: Write, stored: Document | None, now: datetime) -> None:
    """Let the write of a header replace the stored header if it has expired.

    The precondition of the write states what was read: the expired header, or none.
    """
    write.current_document.exists = False
    if stored is not None and encoding.is_expired(stored, now):
        write.current_document.update_time.CopyFrom(stored.update_time)


def _resolve(submitted: Header, stored: Header) -> Outcome:
    if (stored.sha256, stored.labels) != (submitted.sha256, submitted.labels):  # labels can be in headers
        return Conflict(
            "this idempotency key was used for a sample with other content or labels; use a new key for a new sample"
        )
    return stored

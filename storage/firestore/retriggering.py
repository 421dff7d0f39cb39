"""Retriggering: writes headers of samples again, so that the function receives new events for them."""

from collections.abc import Collection, Mapping
from datetime import datetime

from storage.documents import Arrival, document_paths
from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.errors import PreconditionFailed
from storage.firestore.writes.group_commit_writer import GroupCommitWriter


async def trigger_again(
    firestore: Firestore, writer: GroupCommitWriter, submitter: str, ids: Collection[str]
) -> Mapping[str, datetime]:
    """Write the headers of samples again, which triggers the function. Return the time of each write by sample id.

    Samples that do not exist or have expired, and REJECTED samples, are skipped. Firestore deletes the header and the
    chunks of an expired sample separately, so the function may not be able to read it.
    """
    paths = {document_paths.sample(submitter, sample_id): sample_id for sample_id in ids}
    headers = await firestore.batch_get(paths, mask=["state_on_arrival", "expire_at"])
    now = await firestore.estimated_now()
    accepted = [
        path
        for path, header in headers.items()
        if header.fields["state_on_arrival"].string_value == Arrival.ACCEPTED and not encoding.is_expired(header, now)
    ]
    writes = []
    for path in accepted:
        write = encoding.to_partial_write(firestore.name(path), {"recompute_requested_at": SERVER_TIME})
        write.current_document.exists = True
        writes.append(write)
    outcomes = await writer.write_all(writes, submitter)
    times: dict[str, datetime] = {}
    for path, outcome in zip(accepted, outcomes, strict=True):
        if isinstance(outcome, PreconditionFailed):  # deleted after the read
            continue
        if isinstance(outcome, Exception):
            raise outcome
        times[paths[path]] = encoding.to_datetime(outcome.update_time)
    return times

"""Samples of one submitter and their results, as they are stored, in a database for one test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc.aio

from graphql_api.results.filters import Bound, Selection
from storage.documents import Labels, Result, Statistics, Status, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from tests.infra.firestore.server_process import FirestoreProcess
from tests.received import received_sample

SUBMITTER = "station"
IDS = [str(uuid4()) for _ in range(8)]
SITE = {"site": "bern"}


def day(number: int) -> datetime:
    """Return a time of submission."""
    return datetime(2026, 1, number, tzinfo=UTC)


def between(first: int, last: int, labels: Labels | None = None) -> Selection:
    """Select the samples that were submitted on these days."""
    return Selection([Bound("submitted_at", ">=", day(first)), Bound("submitted_at", "<=", day(last))], labels or {})


@asynccontextmanager
async def new_database(process: FirestoreProcess) -> AsyncIterator[Firestore]:
    """A client of a database with the samples of days 2 to 6."""
    async with grpc.aio.insecure_channel(process.address) as channel:
        firestore = Firestore(channel, f"projects/{uuid4()}/databases/(default)", timeout_seconds=30)
        raw = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {"site": "bern", "unit": "V"}}'
        header = received_sample(raw, submitter=SUBMITTER).header
        paths = {number: document_paths.sample(SUBMITTER, IDS[number]) for number in range(2, 7)}
        await store(
            firestore, {path: header.fields() | {"submitted_at": day(number)} for number, path in paths.items()}
        )
        yield firestore


async def store(firestore: Firestore, documents: dict[str, dict[str, Any]]) -> None:
    """Write documents by their paths."""
    response = await firestore.batch_write(
        [encoding.to_write(firestore.name(path), fields) for path, fields in documents.items()]
    )
    assert not any(status.code for status in response.status)


async def store_result(firestore: Firestore, number: int, status: Status = Status.COMPUTED, **further: Any) -> None:
    """Write the result of the sample of a day."""
    statistics = Statistics(1, 1.0, 0.0, 1.0, 1.0)
    result = Result(SUBMITTER, IDS[number], day(number), 0, status, day(number), statistics, **further)
    await store(firestore, {document_paths.result(SUBMITTER, IDS[number]): result.fields()})


async def delete_samples(firestore: Firestore, *numbers: int) -> None:
    """Delete the samples of these days, as when they expire."""
    names = [firestore.name(document_paths.sample(SUBMITTER, IDS[number])) for number in numbers]
    await firestore.batch_write(list(map(encoding.to_delete, names)))

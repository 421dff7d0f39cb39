"""The number of shards in docs/deploying.md: what production's rates accept from one submitter, in simulated time.

The indexes are those of production, the documents are real headers, and the clock is set by the test. So the
result does not depend on the machine.
"""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.embedded.firestore.data_file import file_format
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.errors import StatusError
from infra.embedded.firestore.indexes import definitions, index_builds
from infra.embedded.firestore.indexes.catalog import Catalog
from infra.embedded.firestore.indexes.index_registry import IndexRegistry
from infra.embedded.firestore.messages import Document
from infra.embedded.firestore.writes.pending_document import PendingDocument
from infra.embedded.firestore.writes.rate_limits import INDEXES, RateLimits
from storage.firestore import encoding
from tests.received import received_sample

DATABASE = "projects/p/databases/(default)"
BURST_SECONDS, MEASURED_SECONDS = 1.0, 0.25
RAW = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
START = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture(scope="module")
def registry() -> IndexRegistry:
    """The indexes that `make deploy` creates."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    file_format.prepare(connection, 0)
    catalog, registry = Catalog(), IndexRegistry(definitions.read(Path("infra/gcp/firestore.indexes.json")))
    catalog.load(connection)
    index_builds.apply_definitions(connection, catalog, registry, drop_undefined=True)
    return registry


def header(shards: int, submitted_at: datetime) -> PendingDocument:
    """Return the write of a new header."""
    path, fields = received_sample(RAW, submitter="station-7", shards=shards).document()
    full_name = f"{DATABASE}/documents/{path}"
    fields = {**fields, "submitted_at": submitted_at}
    document = Document(name=full_name)
    for name, value in fields.items():
        document.fields[name].CopyFrom(encoding.to_value(value))
    parsed = resource_names.parse_document(full_name, DATABASE)
    return PendingDocument(parsed, full_name, parsed.path, None, None, None, document)


def accepted_per_second(registry: IndexRegistry, shards: int) -> float:
    """Offer more than twice the predicted rate; return the accepted rate after the burst that Firestore allows."""
    offered = 1_200 * shards
    clock = [0.0]
    limits = RateLimits(registry, {INDEXES}, lambda: clock[0])
    accepted = 0
    for number in range(int(offered * (BURST_SECONDS + MEASURED_SECONDS))):
        clock[0] = number / offered
        try:
            limits.admit([header(shards, START + timedelta(seconds=clock[0]))])
        except StatusError:
            continue
        accepted += clock[0] >= BURST_SECONDS
    return accepted / MEASURED_SECONDS


@pytest.mark.parametrize("shards", [1, 4])
def test_a_shard_takes_500_samples_per_second_of_a_submitter(shards: int, registry: IndexRegistry) -> None:
    """The table divides by 400, which leaves a reserve of a fifth."""
    assert accepted_per_second(registry, shards) == pytest.approx(500 * shards, rel=0.1)

"""The index entries of a sample and its result: what labels cost."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.embedded.firestore.encoding import path_encoding
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.entries import DocumentIndexer
from storage.documents import Result, Statistics, Status
from storage.documents.stored_fields import SERVER_TIME
from storage.firestore import encoding
from tests.received import received_sample

INDEXES = definitions.read(Path("infra/gcp/firestore.indexes.json"))
NOW = datetime(2026, 5, 1, tzinfo=UTC)
RAW = b'{"time_stamp": "2026-05-01T00:00:00Z", "data": [1.5]}'


def count_entries(labels: dict[str, str], *, are_shared: bool) -> dict[str, int]:
    """Return the number of entries of a header and of a result. The embedded Firestore shares those of a direction."""
    header = received_sample(RAW, submitter="alice", default_labels=labels).header
    statistics = Statistics(1, 1.5, 0, 1.5, 1.5)
    result = Result("alice", header.id, NOW, 0, Status.COMPUTED, NOW, statistics, submitted_at=NOW, labels=labels)
    counts = {}
    for collection, fields in (("samples", header.fields()), ("results", result.fields())):
        stored = {name: NOW if value is SERVER_TIME else value for name, value in fields.items()}
        document = encoding.to_write(f"submitters/alice/{collection}/{header.id}", stored).update
        composite = {each.stored_as if are_shared else each for each in INDEXES.composite_indexes}
        indexer = DocumentIndexer(collection, INDEXES, dict(enumerate(composite)))
        path = path_encoding.encode_path(("submitters", "alice", collection, header.id))
        counts[collection] = len(indexer.entries(path, header.id, document))
    return counts


@pytest.mark.parametrize("are_shared", [True, False], ids=["embedded", "production"])
@pytest.mark.parametrize("labels", range(5))
def test_each_combination_of_labels_has_an_entry_per_index(labels: int, are_shared: bool) -> None:
    """A sample without labels has none of these entries. docs/architecture.md has the figures."""
    given = dict.fromkeys("abcd"[:labels], "value")
    without = count_entries({}, are_shared=are_shared)

    counts = count_entries(given, are_shared=are_shared)

    indexes = {"samples": 1, "results": 2} if are_shared else {"samples": 2, "results": 3}
    added = {collection: counts[collection] - without[collection] for collection in counts}
    assert added == {collection: number * (2**labels - 1) for collection, number in indexes.items()}

"""A sample that is submitted during a deletion is kept, even if an earlier sample with its id was selected."""

from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

from google.cloud.firestore import Client

from graphql_api.auth.audit_entry import AuditFacts
from graphql_api.auth.audit_log import AuditLog
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.deletion.deletion_store import DeletionStore
from graphql_api.results.filters import EVERYTHING
from graphql_api.results.store import Store
from storage.documents import document_paths
from storage.firestore.client import Firestore
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.stack import Stack

SUBMITTER = "submit-during-deletion"
SAMPLE = {"time_stamp": "2019-05-01T06:00:00Z", "data": [1]}


async def test_a_sample_that_replaces_a_selected_sample_is_kept(
    stack: Stack, firestore: Client, own_firestore: Firestore
) -> None:
    """The selected sample has expired. The new sample has the same idempotency key."""
    key = stack.new_key(SUBMITTER)
    sample_id = stack.submit(SAMPLE, key=key, idempotency_key="once")["id"]
    stack.wait_for(sample_id, key=key)

    async def selected(*_: object) -> AsyncGenerator[list[str], None]:
        firestore.document(document_paths.sample(SUBMITTER, sample_id)).delete()  # as when it expires
        assert stack.submit(SAMPLE, key=key, idempotency_key="once")["id"] == sample_id
        yield [sample_id]

    async def no_kept_results(*_: object, **__: Any) -> AsyncGenerator[list[str], None]:
        yield []

    writer = GroupCommitWriter(own_firestore, timeout_seconds=30)
    audit_log = AuditLog(own_firestore, writer, LoopTurns())
    store = cast(Store, SimpleNamespace(sample_listing=SimpleNamespace(ids=selected, kept_result_ids=no_kept_results)))
    deleter = Deleter(store, DeletionStore(own_firestore, writer))

    started = await deleter.delete_selected(
        SUBMITTER,
        None,
        EVERYTHING,
        "wrong",
        lambda _: audit_log.entry(SUBMITTER, actor="test", action="samples.deleted", facts=AuditFacts()),
    )
    while (deletion := await deleter.get(SUBMITTER, started.id)) is None or deletion.state == "RUNNING":
        pass
    await deleter.close()
    await writer.close()

    assert (deletion.state, deletion.deleted) == ("FINISHED", 0)
    assert stack.sample(sample_id, key=key)["state"] in ("PENDING", "COMPUTED")

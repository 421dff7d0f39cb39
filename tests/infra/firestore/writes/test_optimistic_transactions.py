"""Optimistic transactions: they hold no locks, and a conflicting write aborts them."""

from functools import partial
from typing import Any

import grpc
import pytest

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import ROOT, FirestoreProcess
from tests.infra.firestore.writes.transaction_calls import begin, commit, query, read


def test_an_optimistic_transaction_is_aborted_after_a_conflicting_write(firestore: FirestoreProcess) -> None:
    """It holds no locks, so the other write is stored at once."""
    commit(firestore, None, "optimistic/a", 1)
    transaction = begin(firestore, optimistic=True)
    read(firestore, transaction, "optimistic/a")
    commit(firestore, None, "optimistic/a", 2)

    with pytest.raises(grpc.RpcError) as aborted:
        commit(firestore, transaction, "optimistic/a", 3)

    assert aborted.value.code() is grpc.StatusCode.ABORTED


def test_an_optimistic_transaction_is_aborted_if_its_query_has_new_results(firestore: FirestoreProcess) -> None:
    """A document that did not exist when the query ran is a conflict."""
    transaction = begin(firestore, optimistic=True)
    assert query(firestore, transaction, "phantoms", minimum=5) == 0
    commit(firestore, None, "phantoms/a", 5)

    with pytest.raises(grpc.RpcError) as aborted:
        commit(firestore, transaction, "elsewhere/a", 3)

    assert aborted.value.code() is grpc.StatusCode.ABORTED


@pytest.mark.parametrize("reads", [read, partial(query, minimum=1)], ids=["a document", "a query"])
def test_an_optimistic_transaction_is_aborted_after_a_deletion(firestore: FirestoreProcess, reads: Any) -> None:
    """A document that it has read does not exist any more."""
    commit(firestore, None, "deleted/a", 1)
    transaction = begin(firestore, optimistic=True)
    assert reads(firestore, transaction, "deleted/a" if reads is read else "deleted") in ([True], 1)
    firestore.call("DeleteDocument", m.DeleteDocumentRequest(name=f"{ROOT}/deleted/a"), m.Empty)

    with pytest.raises(grpc.RpcError) as aborted:
        commit(firestore, transaction, "elsewhere/b", 3)

    assert aborted.value.code() is grpc.StatusCode.ABORTED

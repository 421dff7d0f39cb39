"""Transactions that a read starts, instead of BeginTransaction."""

from typing import Any

import grpc

from infra.embedded.firestore import messages as m
from tests.infra.firestore.server_process import DATABASE, ROOT, SERVICE, FirestoreProcess
from tests.infra.firestore.writes.transaction_calls import read, rollback

DOCUMENTS = [f"{ROOT}/unread/{number}" for number in range(20)]


def test_a_transaction_continues_after_the_client_cancels_the_read_that_started_it(firestore: FirestoreProcess) -> None:
    """A client has the id with the first response, and may not need the other documents."""
    for name in DOCUMENTS:
        fields = {"bytes": m.Value(bytes_value=bytes(1_000_000))}
        request = m.CommitRequest(database=DATABASE, writes=[m.Write(update=m.Document(name=name, fields=fields))])
        firestore.call("Commit", request, m.CommitResponse)
    query = m.RunQueryRequest(parent=ROOT)
    query.new_transaction.read_write.SetInParent()
    query.structured_query.from_.add(collection_id="unread")
    lookup = m.BatchGetDocumentsRequest(database=DATABASE, documents=DOCUMENTS)
    lookup.new_transaction.read_write.SetInParent()

    transactions = []
    for _ in range(20):  # the server may learn of the end before or after it has sent the first response completely
        transactions.append(_first(firestore, "RunQuery", query, m.RunQueryResponse).transaction)
        transactions.append(_first(firestore, "BatchGetDocuments", lookup, m.BatchGetDocumentsResponse).transaction)
    exist = [read(firestore, each, "unread/1") for each in transactions]

    assert exist == [[True]] * 40
    for each in transactions:
        rollback(firestore, each)


def _first(firestore: FirestoreProcess, method: str, request: Any, response: Any) -> Any:
    """Return the first response to a call, and cancel the call."""
    with grpc.insecure_channel(firestore.address) as channel:
        call = channel.unary_stream(SERVICE + method, type(request).SerializeToString, response.FromString)
        responses: Any = call(request)
        first = next(responses)
        responses.cancel()
    return first

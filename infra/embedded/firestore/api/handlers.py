"""The service as gRPC calls it: which method answers which RPC, and what a failure becomes."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc

from infra.embedded.firestore import errors
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.grpc_server import Call, Method
from infra.embedded.firestore.api.service import Service

NAME = "google.firestore.v1.Firestore"

logger = logging.getLogger(__name__)

Run = Callable[[Any, Call], Awaitable[Any]]


def _guarded(name: str, run: Run, calls: Counter[tuple[str, str]]) -> Run:
    async def guarded(request: Any, call: Call) -> Any:
        try:
            answer = await run(request, call)
        except Exception as error:
            refusal = errors.from_exception(error)
            calls[name, refusal.code.name] += 1
            if refusal.code is grpc.StatusCode.INTERNAL:
                logger.exception("%s failed", name)
            call.end(refusal.code, refusal.message)
        else:
            calls[name, "OK"] += 1
            return answer

    return guarded


def methods(service: Service, calls: Counter[tuple[str, str]]) -> dict[str, Method]:
    """Return what answers each RPC, by its full name; `calls` counts them by method and code."""
    answered = {
        "GetDocument": Method(service.get_document, m.GetDocumentRequest),
        "ListDocuments": Method(service.list_documents, m.ListDocumentsRequest),
        "CreateDocument": Method(service.create_document, m.CreateDocumentRequest),
        "UpdateDocument": Method(service.update_document, m.UpdateDocumentRequest),
        "DeleteDocument": Method(service.delete_document, m.DeleteDocumentRequest),
        "BatchGetDocuments": Method(service.batch_get_documents, m.BatchGetDocumentsRequest),
        "BeginTransaction": Method(service.begin_transaction, m.BeginTransactionRequest),
        "Commit": Method(service.commit, m.CommitRequest),
        "Rollback": Method(service.rollback, m.RollbackRequest),
        "RunQuery": Method(service.run_query, m.RunQueryRequest),
        "RunAggregationQuery": Method(service.run_aggregation_query, m.RunAggregationQueryRequest),
        "PartitionQuery": Method(service.partition_query, m.PartitionQueryRequest),
        "ExecutePipeline": Method(service.execute_pipeline, m.ExecutePipelineRequest),
        "Write": Method(service.write, m.WriteRequest, is_streamed=True),
        "Listen": Method(service.listen, m.ListenRequest, is_streamed=True),
        "ListCollectionIds": Method(service.list_collection_ids, m.ListCollectionIdsRequest),
        "BatchWrite": Method(service.batch_write, m.BatchWriteRequest),
    }
    return {
        f"/{NAME}/{name}": replace(method, run=_guarded(name, method.run, calls)) for name, method in answered.items()
    }

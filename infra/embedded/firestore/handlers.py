"""The service as gRPC calls it: which method answers which RPC, and what a failure becomes."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.errors import Refusal
from infra.embedded.firestore.service import Service

NAME = "google.firestore.v1.Firestore"

logger = logging.getLogger(__name__)

Method = Callable[[Any, Any], Awaitable[Any]]


def _guarded(name: str, method: Method, calls: Counter[tuple[str, str]]) -> Method:
    async def call(request: Any, context: Any) -> Any:
        try:
            answer = await method(request, context)
        except Refusal as refusal:
            calls[name, refusal.code.name] += 1
            await context.abort(refusal.code, refusal.message)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception:
            if context.cancelled() or context.done():
                return None
            calls[name, "INTERNAL"] += 1
            logger.exception("%s failed", name)
            await context.abort(grpc.StatusCode.INTERNAL, "Internal error encountered.")
        else:
            calls[name, "OK"] += 1
            return answer

    return call


def generic_handler(service: Service, calls: Counter[tuple[str, str]]) -> grpc.GenericRpcHandler:
    """Return the service as gRPC registers it; `calls` counts them by method and code."""
    unary, streamed = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    both = grpc.stream_stream_rpc_method_handler
    methods: dict[str, tuple[Callable[..., Any], Method, Any, Any]] = {
        "GetDocument": (unary, service.get_document, m.GetDocumentRequest, m.Document),
        "ListDocuments": (unary, service.list_documents, m.ListDocumentsRequest, m.ListDocumentsResponse),
        "CreateDocument": (unary, service.create_document, m.CreateDocumentRequest, m.Document),
        "UpdateDocument": (unary, service.update_document, m.UpdateDocumentRequest, m.Document),
        "DeleteDocument": (unary, service.delete_document, m.DeleteDocumentRequest, m.Empty),
        "BatchGetDocuments": (
            streamed,
            service.batch_get_documents,
            m.BatchGetDocumentsRequest,
            m.BatchGetDocumentsResponse,
        ),
        "BeginTransaction": (
            unary,
            service.begin_transaction,
            m.BeginTransactionRequest,
            m.BeginTransactionResponse,
        ),
        "Commit": (unary, service.commit, m.CommitRequest, m.CommitResponse),
        "Rollback": (unary, service.rollback, m.RollbackRequest, m.Empty),
        "RunQuery": (streamed, service.run_query, m.RunQueryRequest, m.RunQueryResponse),
        "RunAggregationQuery": (
            streamed,
            service.run_aggregation_query,
            m.RunAggregationQueryRequest,
            m.RunAggregationQueryResponse,
        ),
        "PartitionQuery": (unary, service.partition_query, m.PartitionQueryRequest, m.PartitionQueryResponse),
        "ExecutePipeline": (
            streamed,
            service.execute_pipeline,
            m.ExecutePipelineRequest,
            m.ExecutePipelineResponse,
        ),
        "Write": (both, service.write, m.WriteRequest, m.WriteResponse),
        "Listen": (both, service.listen, m.ListenRequest, m.ListenResponse),
        "ListCollectionIds": (
            unary,
            service.list_collection_ids,
            m.ListCollectionIdsRequest,
            m.ListCollectionIdsResponse,
        ),
        "BatchWrite": (unary, service.batch_write, m.BatchWriteRequest, m.BatchWriteResponse),
    }
    return grpc.method_handlers_generic_handler(
        NAME,
        {
            name: kind(
                _guarded(name, method, calls),
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
            for name, (kind, method, request, response) in methods.items()
        },
    )

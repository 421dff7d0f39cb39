"""The table of RPC methods, and the mapping from exceptions to gRPC statuses."""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc

from infra.embedded.firestore import errors
from infra.embedded.firestore import messages as m
from infra.embedded.firestore.api.service import Service
from infra.embedded.firestore.encoding import limits
from infra.embedded.firestore.transport.rpc import Call, Handler, RpcMethod

SERVICE_NAME = "google.firestore.v1.Firestore"

logger = logging.getLogger(__name__)


def rpc_methods(service: Service, call_counts: Counter[tuple[str, str]]) -> dict[str, RpcMethod]:
    """Return every RPC method by its full name. `call_counts` counts finished calls by method and status code."""
    methods = {
        "GetDocument": RpcMethod(service.get_document, m.GetDocumentRequest),
        "ListDocuments": RpcMethod(service.list_documents, m.ListDocumentsRequest),
        "CreateDocument": RpcMethod(service.create_document, m.CreateDocumentRequest),
        "UpdateDocument": RpcMethod(service.update_document, m.UpdateDocumentRequest),
        "DeleteDocument": RpcMethod(service.delete_document, m.DeleteDocumentRequest),
        "BatchGetDocuments": _server_streaming(service.batch_get_documents, m.BatchGetDocumentsRequest),
        "BeginTransaction": RpcMethod(service.begin_transaction, m.BeginTransactionRequest),
        "Commit": RpcMethod(service.commit, m.CommitRequest),
        "Rollback": RpcMethod(service.rollback, m.RollbackRequest),
        "RunQuery": _server_streaming(service.queries.run_query, m.RunQueryRequest),
        "RunAggregationQuery": _server_streaming(service.queries.run_aggregation_query, m.RunAggregationQueryRequest),
        "PartitionQuery": RpcMethod(service.partition_query, m.PartitionQueryRequest),
        "ExecutePipeline": _server_streaming(service.execute_pipeline, m.ExecutePipelineRequest),
        "Write": _bidirectional(service.write, m.WriteRequest),
        "Listen": _bidirectional(service.listen, m.ListenRequest),
        "ListCollectionIds": RpcMethod(service.list_collection_ids, m.ListCollectionIdsRequest),
        "BatchWrite": RpcMethod(service.batch_write, m.BatchWriteRequest),
    }
    return {
        f"/{SERVICE_NAME}/{name}": replace(method, handler=_with_status(name, method, call_counts))
        for name, method in methods.items()
    }


def _server_streaming(handler: Handler, request_class: Any) -> RpcMethod:
    return RpcMethod(handler, request_class, streams_responses=True)


def _bidirectional(handler: Handler, request_class: Any) -> RpcMethod:
    return RpcMethod(handler, request_class, streams_requests=True, streams_responses=True)


def _with_status(name: str, method: RpcMethod, call_counts: Counter[tuple[str, str]]) -> Handler:
    """Return a handler that refuses large requests, and ends the call with a status if the handler raises."""

    async def respond(request: Any, call: Call) -> Any:
        try:
            if method.streams_requests:
                request = _checked(request)
            else:
                _check_size(call.request_bytes)
            response = await method.handler(request, call)
        except Exception as error:
            status = errors.from_exception(error)
            call_counts[name, status.code.name] += 1
            if status.code is grpc.StatusCode.INTERNAL:
                logger.exception("%s failed", name)
            call.end(status.code, errors.shortened(status.message))
        else:
            call_counts[name, "OK"] += 1
            return response

    return respond


async def _checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _check_size(request.ByteSize())
        yield request


def _check_size(request_bytes: int) -> None:
    if request_bytes > limits.MAX_REQUEST_BYTES:
        raise errors.invalid_argument(f"Request payload size exceeds the limit: {limits.MAX_REQUEST_BYTES} bytes.")

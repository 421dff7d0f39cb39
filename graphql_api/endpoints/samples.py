"""`POST /samples`, and `GET` and `DELETE` of `/samples/{id}`: samples over plain HTTP.

A JSON body is one sample. An NDJSON body has one sample per line (`ndjson_samples.py`). An error is
`{"error": {"message", "extensions": {"code"}}}`, with the same codes as in GraphQL.

Clients that cannot change their JSON send labels in the request headers `x-label-NAME`. Such a header applies to
each sample of the request. A label in a sample itself takes precedence. Some proxies drop headers with an underscore
in their name, so `-` in the name of a header stands for `_` in the name of a label.
"""

from contextlib import ExitStack
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graphql_api.auth.audit_entry import facts_of_samples
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.budgets.large_read import LargeRead
from graphql_api.endpoints.endpoint import Endpoint, endpoint, public
from graphql_api.endpoints.ndjson_samples import CONTENT, NDJSON, NDJSON_TYPES, NdjsonSamples
from graphql_api.endpoints.query_parameters import query_parameters
from graphql_api.error_entries import describe_unexpected
from graphql_api.errors import UnsupportedMediaType
from graphql_api.graphql_server.disconnection import while_connected
from graphql_api.graphql_server.large_response import LargeResponse
from graphql_api.graphql_server.requests import request_headers
from graphql_api.graphql_server.requests.media_types import JSON, utf_8_type
from graphql_api.graphql_server.requests.request_body import read_body
from graphql_api.graphql_server.requests.request_headers import contains_tag, header, headers_by_name
from graphql_api.ingest.receiver import Receiver
from graphql_api.results.deletion.deleter import Deleter
from graphql_api.results.store import Store
from graphql_api.scopes import Scope
from storage.documents import (
    Arrival,
    BadRequest,
    Conflict,
    ContentKey,
    Header,
    InvalidSample,
    Labels,
    NotFound,
    NotJson,
    labels,
    state_of,
)
from storage.documents.problems import echo

_JSON = "application/json"
_LABEL_PREFIX = b"x-label-"

_READ_COST = 5
"""Cost units of reading a raw document, which can have dozens of megabytes."""

_DELETION_COST = 20
"""Cost units of deleting a sample. Each deletion is a Commit of its own, so few of a submitter run at the same time.

With 500 deletions at the same time, a submit of another submitter took up to 811 ms. Now it is 86 ms (busy machine).
"""


class Services(Protocol):
    """The services that these endpoints use. The application creates the services when it starts."""

    authenticator: Authenticator
    budgets: Budgets
    audit_log: AuditLog
    deleter: Deleter
    receiver: Receiver
    store: Store


class SampleEndpoints:
    """The endpoints `/samples` and `/samples/{id}`."""

    def __init__(self, services: Services, max_request_bytes: int) -> None:
        self._services = services
        self._max_request_bytes = max_request_bytes
        self._ndjson = NdjsonSamples(services, _receipt)

    @property
    def endpoints(self) -> list[Endpoint]:
        """Return `POST` and `OPTIONS /samples`, `GET /samples/{id}` and `DELETE /samples/{id}`."""
        services = self._services
        return [
            endpoint("/samples", self._post, method="POST", scope=Scope.SUBMIT, services=services),
            public(Route("/samples", self._options, methods=["OPTIONS"])),
            endpoint("/samples/{id}", self._get, method="GET", scope=Scope.READ, services=services, cost=_READ_COST),
            endpoint(
                "/samples/{id}",
                self._delete,
                method="DELETE",
                scope=Scope.ADMIN,
                services=services,
                cost=_DELETION_COST,
            ),
        ]

    async def _options(self, request: Request) -> Response:
        """Announce the size limit of a request, as draft-ietf-httpbis-resumable-upload describes."""
        del request
        limit = {"upload-limit": f"max-size={self._max_request_bytes}"} if self._max_request_bytes else {}
        return Response(status_code=204, headers={"allow": "OPTIONS, POST", **limit})

    async def _post(self, request: Request, caller: Caller) -> Response:
        media_type = utf_8_type(header(request, b"content-type"))
        idempotency_key = request_headers.utf_8_text(request, "Idempotency-Key")
        earlier_id = request_headers.utf_8_text(request, "x-supersedes")
        request_labels = _labels_of(request)
        if media_type in NDJSON_TYPES:
            if earlier_id is not None:
                raise BadRequest(
                    f"the header x-supersedes applies only to a body with one sample; send this sample as {_JSON}"
                )
            return self._ndjson.respond(request, caller, labels=request_labels, idempotency_key=idempotency_key)
        if media_type != JSON:
            raise UnsupportedMediaType(
                f"expected the header content-type: {_JSON} (one sample) or {NDJSON} (one sample per line), in UTF-8"
            )
        content_key = ContentKey(request_labels, earlier_id) if idempotency_key == CONTENT else None
        receiver, budgets = self._services.receiver, self._services.budgets
        budget = budgets.submitter(caller.submitter)
        with ExitStack() as held:
            raw = await read_body(
                request,
                receiver.max_sample_bytes,
                reserve=lambda: held.enter_context(budgets.memory.new_reservation(budget.request_bytes)),
                budget=budget,
            )
            try:
                stored = await receiver.receive(
                    raw,
                    sender=caller,
                    idempotency_key=content_key or idempotency_key,
                    labels=request_labels,
                    supersedes=earlier_id,
                )
            except NotJson as error:
                hint = f"; for one sample per line, send the header content-type: {NDJSON}" if _is_ndjson(raw) else ""
                raise NotJson(f"{error}{hint}") from None
        return Response(
            orjson.dumps(_receipt(stored), option=orjson.OPT_APPEND_NEWLINE),
            status_code=201 if stored.arrival is Arrival.ACCEPTED else 422,
            headers={"location": f"/samples/{stored.id}"},
            media_type=_JSON,
        )

    async def _get(self, request: Request, caller: Caller) -> Response:
        sample_id = request.path_params["id"]
        if known_tags := header(request, b"if-none-match").decode("latin-1"):
            headers = await self._services.store.headers(caller.submitter, [sample_id])
            if sample_id in headers and contains_tag(known_tags, _entity_tag(headers[sample_id])):
                return Response(status_code=304, headers=_response_headers(headers[sample_id]))
        budgets = self._services.budgets
        with ExitStack() as held:
            large_read = held.enter_context(LargeRead(budgets, caller))
            try:
                reading = self._services.store.raw(caller.submitter, sample_id, large_read.reserve)
                stored, raw = await while_connected(request.receive, reading)
            except InvalidSample as error:  # the stored document is damaged, which is not an error of the client
                body = {"error": describe_unexpected(error, f"GET /samples/{sample_id} of {caller.submitter}")}
                return Response(orjson.dumps(body), 500, media_type=_JSON)
            large_read.end(len(raw))
            return LargeResponse(raw, media_type=_JSON, headers=_response_headers(stored), held=held.pop_all())

    async def _delete(self, request: Request, caller: Caller) -> Response:
        parameters = query_parameters(request).multi_items()
        if [name for name, _ in parameters] not in ([], ["reason"]):
            raise BadRequest("expected only the query parameter `reason`, and only once")
        reason = dict(parameters).get("reason", "")
        sample_id = request.path_params["id"]
        facts = facts_of_samples([sample_id], reason=reason)
        entry = self._services.audit_log.entry(
            caller.submitter, actor=caller.credential, action="samples.deleted", facts=facts
        )
        submitted_until = None
        if b"if-match" in headers_by_name(request.scope):
            tags = header(request, b"if-match").decode("latin-1")
            sample = (await self._services.store.headers(caller.submitter, [sample_id])).get(sample_id)
            if sample is None:
                raise NotFound("the sample does not exist")
            if not contains_tag(tags, _entity_tag(sample)):
                raise Conflict("the header `If-Match` does not list the `ETag` of the sample; read the sample again")
            submitted_until = sample.submitted_at
        await self._services.deleter.delete_one(caller.submitter, sample_id, reason, entry, submitted_until)
        return Response(status_code=204)


def _is_ndjson(raw: bytes) -> bool:
    """Return whether a body looks like NDJSON: an object ends with its first line, and another starts after it."""
    end = max(raw.find(b"\n"), 0)
    return raw[max(end - 2, 0) : end].rstrip().endswith(b"}") and raw[end + 1 : end + 2] == b"{"


def _labels_of(request: Request) -> Labels:
    """Return the labels in the headers of a request. Raises `BadRequest` if one of the labels is invalid."""
    found: dict[str, str] = {}
    for key, raw in request.headers.raw:
        if not key.startswith(_LABEL_PREFIX):
            continue
        header_name = key.decode("latin-1")
        name = header_name[len(_LABEL_PREFIX) :].replace("-", "_")
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            raise BadRequest(f"expected text in UTF-8 - in the header `{echo(header_name)}`") from None
        if found.setdefault(name, value) != value:
            raise BadRequest(f"expected one value, got several - in the header `{echo(header_name)}`")
        for problem in labels.problems({name: value}):
            raise BadRequest(f"{problem.message} - in the header `{echo(header_name)}`")
    if len(found) > labels.MAX_LABELS:
        raise BadRequest(f"{labels.too_many().message}, got {len(found)} - in the headers `x-label-NAME`")
    return found


def _entity_tag(header: Header) -> str:
    return f'"{header.sha256}"'


def _response_headers(header: Header) -> dict[str, str]:
    return {"etag": _entity_tag(header), "cache-control": "private"}


def _receipt(header: Header) -> dict[str, Any]:
    problems = [problem.fields() for problem in header.problems]
    receipt = {"id": header.id, "state": state_of(header.arrival), "problems": problems}
    return receipt | {"labels": header.labels} if header.labels else receipt

"""`GET /results/{id}`: the state of one sample, with its problems or its result, for clients without GraphQL.

The body is the receipt of the sample with its current state. The member `result` is null or the object that `GET
/results` has for this result as NDJSON.
"""

from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response

from graphql_api.auth.authenticator import Authenticator
from graphql_api.auth.caller import Caller
from graphql_api.budgets.budgets import Budgets
from graphql_api.endpoints.endpoint import Endpoint, endpoint
from graphql_api.results.exports.columns import row_of
from graphql_api.results.store import Store
from graphql_api.scopes import Scope
from storage.documents import Arrival, Header, NotFound, Result, Status, state_of


class Services(Protocol):
    """The services that this endpoint uses. The application creates the services when it starts."""

    authenticator: Authenticator
    budgets: Budgets
    store: Store


def sample_result_endpoint(services: Services) -> Endpoint:
    """Return `GET /results/{id}`."""

    async def respond(request: Request, caller: Caller) -> Response:
        """Return the state of the sample. Raises `NotFound` if no sample and no result has this id."""
        store, sample_id = services.store, request.path_params["id"]
        header = (await store.headers(caller.submitter, [sample_id])).get(sample_id)
        result = (await store.results(caller.submitter, [sample_id])).get(sample_id)
        if header is not None and result is not None and header.submitted_at is not None:
            result = result if result.belongs_to_sample(header.submitted_at) else None
        if result is not None and result.status is Status.DELETED:
            raise NotFound("the sample was deleted")
        if header is None and result is None:
            raise NotFound("the sample does not exist")
        has_expired = header is not None and result is None and await store.has_expired(header)
        body = _outcome(sample_id, header, result, has_expired=has_expired)
        return Response(
            orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE),
            headers={"cache-control": "no-store"},
            media_type="application/json",
        )

    return endpoint("/results/{id}", respond, method="GET", scope=Scope.READ, services=services)


def _outcome(sample_id: str, header: Header | None, result: Result | None, *, has_expired: bool) -> dict[str, Any]:
    """Return the body. The header is None if only the result of an expired sample is left."""
    arrival = Arrival.ACCEPTED if header is None else header.arrival
    problems = [] if header is None else [*header.problems]
    if result is not None and result.problem is not None:
        problems.append(result.problem)
    found = header or result
    outcome: dict[str, Any] = {
        "id": sample_id,
        "state": state_of(arrival, None if result is None else result.status, has_expired=has_expired),
        "problems": [problem.fields() for problem in problems],
    }
    if found is not None and found.labels:
        outcome["labels"] = found.labels
    if result is not None and result.superseded_by is not None:
        outcome["superseded_by"] = result.superseded_by
    return outcome | {"result": None if result is None or result.statistics is None else row_of(result)}

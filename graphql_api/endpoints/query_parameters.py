"""The query parameters of a request, within a limit on their number."""

from starlette.datastructures import QueryParams
from starlette.requests import Request

from storage.documents.errors import BadRequest

_MAX_PARAMETERS = 20


def query_parameters(request: Request, max_parameters: int = _MAX_PARAMETERS) -> QueryParams:
    """Return the query parameters. Raises `BadRequest` if there are too many of them.

    They are counted before they are parsed. The headers of a request have room for thousands of parameters, which take
    10 ms to parse.
    """
    given = request["query_string"].count(b"&") + 1
    if given > max_parameters:
        raise BadRequest(f"expected at most {max_parameters} parameters, got {given:,}")
    return request.query_params

"""The query parameters of a request, within a limit on their number."""

from urllib.parse import parse_qsl

from starlette.datastructures import QueryParams
from starlette.requests import Request

from storage.documents.errors import BadRequest

_MAX_PARAMETERS = 20


def query_parameters(request: Request, max_parameters: int = _MAX_PARAMETERS) -> QueryParams:
    """Return the query parameters. Raises `BadRequest` if there are too many of them, or if they are not UTF-8.

    They are counted before they are parsed. The headers of a request have room for thousands of parameters, which take
    10 ms to parse.

    Starlette would replace bytes that are not UTF-8, such as `%FC`. A filter would then select other results.
    """
    given = request["query_string"].count(b"&") + 1
    if given > max_parameters:
        raise BadRequest(f"expected at most {max_parameters} parameters, got {given:,}")
    try:
        return QueryParams(parse_qsl(request["query_string"].decode(), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise BadRequest("expected query parameters in UTF-8") from None

"""The query parameters of `GET /results`: the filter, the order and the limit of an export.

Each error names its parameter. The format is not read here, because the header `Accept` can select it too.
"""

import contextlib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from starlette.requests import Request

from graphql_api.client_text import shorten
from graphql_api.endpoints.query_parameters import query_parameters
from graphql_api.results.filters import FILTER_FIELDS, OPERATORS, ORDER_FIELDS, Bound, Direction, Order, Selection
from storage.documents import STATISTICS, BadRequest, labels, timestamps

_LABEL_PREFIX = "label."
_PARAMETERS = (
    "format",
    "order_by",
    "direction",
    "limit",
    *(f"{field}.{limit}" for field in FILTER_FIELDS for limit in OPERATORS),
)

_MAX_PARAMETERS = len(_PARAMETERS) + labels.MAX_LABELS

_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?", re.ASCII)  # Python also accepts non-ASCII digits and 1_000
_DIGITS = re.compile(r"[0-9]{1,19}")


def read(request: Request) -> dict[str, str]:
    """Return the query parameters by name. Raises `BadRequest` for an unknown or repeated parameter."""
    query = query_parameters(request, _MAX_PARAMETERS)
    for name in query:
        if name not in _PARAMETERS and not name.startswith(_LABEL_PREFIX):
            known = (
                f"format, order_by, direction, limit, {_LABEL_PREFIX}NAME, "
                f"and .gte, .gt, .lte or .lt after {', '.join(FILTER_FIELDS)}"
            )
            raise BadRequest(f"expected one of the parameters {known}, got `{shorten(name, 40)}`")
        if len(query.getlist(name)) > 1:
            raise BadRequest(f"expected one value, got {len(query.getlist(name))} - at `{name}`")
    return dict(query)


def read_selection(parameters: Mapping[str, str]) -> Selection:
    """Return the filter. Raises `BadRequest` if a bound or a label is not valid."""
    bounds, given = [], {}
    for name, text in parameters.items():
        field, dot, limit = name.partition(".")
        if name.startswith(_LABEL_PREFIX):
            given[limit] = text
        elif dot:
            try:
                bounds.append(Bound(field, OPERATORS[limit], _value(field, text)))
            except ValueError as error:
                hint = "; in a URL, write + as %2B" if " " in text else ""  # a plus sign in a query is a space
                raise BadRequest(f"{error}{hint} - at `{name}`") from None
    for problem in labels.problems(given, "label"):
        raise BadRequest(f"{problem.message} - at `{problem.path}`")
    return Selection(bounds, given)


def _value(field: str, text: str) -> datetime | float | int:
    """Return the value of a bound. Raises `ValueError`. The client sees the message of this error."""
    if field == "timestamp":
        return timestamps.parse(text)
    is_integer = field in STATISTICS and STATISTICS[field].value_type is int
    number = math.nan
    if _NUMBER.fullmatch(text):
        with contextlib.suppress(ValueError):
            number = int(text) if is_integer else float(text)
    if -(2**63) <= number < 2**63 if is_integer else math.isfinite(number):  # false for NaN
        return number
    expected = "a whole number of 64 bits" if is_integer else "a finite number"
    raise ValueError(f"expected {expected}, got {_shown(text)}")


def read_order(parameters: Mapping[str, str]) -> Order:
    """Return the order. Without parameters, the latest time stamp comes first, as in GraphQL.

    If only `order_by` is set, the order is ascending.
    """
    field = read_choice(parameters, "order_by", "timestamp", ORDER_FIELDS)
    default = "asc" if "order_by" in parameters else "desc"
    direction = read_choice(parameters, "direction", default, [*Direction])
    return Order(field, descending=direction == "desc")


def read_limit(parameters: Mapping[str, str]) -> int:
    """Return the maximum number of results. Without the parameter, all results are exported."""
    text = parameters.get("limit", str(sys.maxsize))
    limit = int(text) if _DIGITS.fullmatch(text) else -1
    if not 0 <= limit <= sys.maxsize:
        raise BadRequest(f"expected a whole number of 0 to {sys.maxsize}, got {_shown(text)} - at `limit`")
    return limit


def read_choice(parameters: Mapping[str, str], name: str, default: str, choices: Sequence[str]) -> str:
    """Return the value of the parameter `name`. Raises `BadRequest` if the value is not one of `choices`."""
    value = parameters.get(name, default)
    if value not in choices:
        raise BadRequest(f"expected one of {', '.join(choices)}, got {_shown(value)} - at `{name}`")
    return value


def _shown(text: str) -> str:
    return shorten(text, 40) or "an empty string"

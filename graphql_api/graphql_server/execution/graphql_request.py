"""A GraphQL request in JSON, split by msgspec into spans of text without parsing the values.

msgspec splits the request and its `variables` into spans of text (`msgspec.Raw`). A resolver gets the unchanged bytes
of a raw scalar. All other variables are decoded when the operation of the request is known.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypedDict
from urllib.parse import parse_qsl

import msgspec
from graphql import ListTypeNode, NamedTypeNode, NonNullTypeNode, OperationDefinitionNode, TypeNode

from graphql_api.budgets.memory_budget import Reservation
from graphql_api.client_text import shorten
from graphql_api.graphql_server.execution.json_object import (
    check_unique,
    check_unique_within,
    check_utf8,
    decode,
    unused_value,
)
from graphql_api.graphql_server.execution.placeholder import MAX_KEPT_BYTES, PlaceholderText
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from storage.documents.errors import BadRequest, TooLarge


@dataclass(slots=True)
class GraphQLRequest:
    """A request. `variables` is a view of the request body: a JSON object that is not decoded yet."""

    query: str
    operation_name: str | None
    variables: msgspec.Raw | None
    placeholders: PlaceholderText | None = None
    """Set if the request is long. Placeholders then replace the numbers of long lists in `variables`."""
    reservation: Reservation | None = None
    """The memory of the body. It stays reserved while the operation waits for its turn, and while it stores samples."""

    @property
    def size(self) -> int:
        """The length of the document and of the variables."""
        return len(self.query) + (0 if self.variables is None else len(memoryview(self.variables)))

    def release_variables(self) -> None:
        """Release the variables, because the operation has decoded them."""
        self.variables = self.placeholders = None

    def release_memory(self) -> None:
        """Release the variables and the reservation."""
        self.release_variables()
        if self.reservation is not None:
            self.reservation.release()


class _Envelope(msgspec.Struct):
    query: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    operationName: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 (the name in JSON)
    variables: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    extensions: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Extensions(msgspec.Struct):
    persistedQuery: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 (the name in JSON)


class _Object(msgspec.Struct):
    """Any JSON object. msgspec skips its members."""


_ITEMS_PER_OBJECT = 4
"""Further items for which an object in a variable counts. Reading an input object of two fields takes 20 µs."""

_POSITION = re.compile(r" \(byte \d+\)")
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_EXTENSIONS = msgspec.json.Decoder(_Extensions | None)
_TEXT = msgspec.json.Decoder(str | None)
_OBJECT = msgspec.json.Decoder(_Object | None)
_VALUE: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def read_json(body: bytes | msgspec.Raw) -> GraphQLRequest:
    """Read a request from JSON.

    Raises `BadRequest` if the request is invalid, and `TooLarge` if it has a large value that is not used, or is long
    without long lists of numbers.
    """
    if not body:
        raise BadRequest("the request has no body; send a JSON object with a `query`")
    if not isinstance(body, bytes) or len(body) <= MIB:
        return _split(body)
    placeholders = PlaceholderText(body)
    try:
        request = _split(placeholders.text)
    except BadRequest as error:
        if len(body) <= MAX_KEPT_BYTES:
            return _split(body)  # the error then has the correct position
        raise BadRequest(_POSITION.sub("", str(error))) from None
    if request.variables is not None and placeholders.are_all_in(request.variables):
        request.placeholders = placeholders
        return request
    if len(body) > MAX_KEPT_BYTES:
        raise unused_value()
    return _split(body)


def _split(body: bytes | msgspec.Raw) -> GraphQLRequest:
    check_utf8(body)
    envelope = decode(_ENVELOPE, body, "the request")
    spans = {
        name: span for name in _Envelope.__struct_fields__ if (span := getattr(envelope, name)) is not msgspec.UNSET
    }
    check_unique(body, spans)
    request = _request(spans.get("query"), spans.get("operationName"), spans.get("variables"), spans.get("extensions"))
    if request.variables is not None and 2 * len(memoryview(request.variables)) < len(memoryview(body)):
        request.variables = request.variables.copy()  # otherwise a stream would hold the whole body in memory
    return request


def read_query_string(query_string: bytes) -> GraphQLRequest:
    """Read a request from the query string of a URL. Raises `BadRequest`.

    The parameters `variables` and `extensions` are JSON.
    """
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise BadRequest("the query string is not valid: expected at most 20 parameters in UTF-8") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise BadRequest("the query string has the same parameter twice; send each parameter once")
    query, name = parameters.get("query"), parameters.get("operationName")
    variables, extensions = (
        msgspec.Raw(text.encode()) if (text := parameters.get(key, "").strip(" \t\r\n")) else None
        for key in ("variables", "extensions")
    )
    if variables:
        decode(_OBJECT, variables, "`variables`")
        check_unique(variables, {})
    return _request(
        None if query is None else msgspec.Raw(msgspec.json.encode(query)),
        None if not name else msgspec.Raw(msgspec.json.encode(name)),
        variables,
        extensions,
    )


class VariableReader:
    """Reads the variables that one operation declares. A cached operation includes its reader."""

    def __init__(self, operation: OperationDefinitionNode, settings: GraphQLSettings) -> None:
        self._settings = settings
        self._variables: dict[str, tuple[str, int | None]] = {}
        """By name: its name in messages, and the depth of its list of raw scalars, or None for another type."""
        for definition in operation.variable_definitions or ():
            name = definition.variable.name.value
            depth = _list_depth(definition.type, settings.raw_scalars)
            self._variables.setdefault(name, (f"the variable `{shorten(name, 60)}`", depth))
        has_raw_lists = any(depth for _, depth in self._variables.values())
        self._decoder = _span_decoder(tuple(self._variables)) if self._variables else None
        self._raw_list = _raw_list_decoder(settings.max_raw_list_length) if has_raw_lists else None

    @property
    def has_raw_scalars(self) -> bool:
        """Whether a variable can contain raw scalars. Their bytes are not decoded, and can be as long as the body."""
        return any(depth is not None for _, depth in self._variables.values())

    def read(self, variables: msgspec.Raw | None, placeholders: PlaceholderText | None = None) -> dict[str, Any]:
        """Return the value of each declared variable that is in `variables`. Raises `BadRequest` or `TooLarge`."""
        if variables is None or self._decoder is None:
            return {}
        spans = decode(self._decoder, variables, "`variables`")
        plain_bytes = items = 0
        values: dict[str, Any] = {}
        for name, (what, depth) in self._variables.items():
            span = spans.get(name)
            if span is None:
                continue
            if depth is not None:
                values[name] = self._raw(span, depth, what, placeholders)
                continue
            if placeholders is not None and placeholders.is_in(span):
                span = msgspec.Raw(placeholders.restore(span))
            plain_bytes += len(memoryview(span))
            if plain_bytes > self._settings.max_plain_variable_bytes:
                limit = self._settings.max_plain_variable_bytes
                raise TooLarge(
                    f"expected variables of at most {limit:,} bytes in total, besides samples; send smaller values"
                )
            items += bytes(span).count(b",") + _ITEMS_PER_OBJECT * bytes(span).count(b"{")
            if items > self._settings.max_plain_variable_items:
                limit = self._settings.max_plain_variable_items
                raise TooLarge(
                    f"expected at most {limit:,} items in all variables, besides samples; send shorter lists"
                )
            values[name] = decode(_VALUE, span, what)
            check_unique_within(span, what)
        check_unique(variables, spans)
        if placeholders is not None and not placeholders.are_all_in(*spans.values()):
            raise unused_value()
        return values

    def _raw(self, span: msgspec.Raw, depth: int, what: str, placeholders: PlaceholderText | None) -> Any:
        start = bytes(memoryview(span)[:1])
        if start == b"n":  # the value is null
            return None
        if depth == 0 or start != b"[" or self._raw_list is None:
            return placeholders.restore(span) if placeholders is not None and placeholders.is_in(span) else span
        limit = self._settings.max_raw_list_length
        decoded = decode(self._raw_list, span, f"{what}, a list of at most {limit} items,")
        items = (getattr(decoded, field) for field in decoded.__struct_fields__)
        return [self._raw(item, depth - 1, what, placeholders) for item in items if item is not msgspec.UNSET]


def _request(
    query: msgspec.Raw | None,
    operation_name: msgspec.Raw | None,
    variables: msgspec.Raw | None,
    extensions: msgspec.Raw | None,
) -> GraphQLRequest:
    extended = decode(_EXTENSIONS, extensions, "`extensions`") if extensions else None
    if query and len(memoryview(query)) > MIB:
        raise TooLarge("the document has more than 1 MiB; send values as variables - at `query`")
    text = decode(_TEXT, query, "`query`") if query else None
    if text is None:
        if extended and extended.persistedQuery:
            raise BadRequest("PersistedQueryNotSupported")  # Apollo clients expect this message
        raise BadRequest("expected the text of a GraphQL document - at `query`")
    if variables is not None:
        start = bytes(memoryview(variables)[:1])
        if start == b"n":  # the value is null
            variables = None
        elif start != b"{":
            raise BadRequest("expected a JSON object - at `variables`")
    return GraphQLRequest(
        text,
        (decode(_TEXT, operation_name, "`operationName`") or None) if operation_name else None,
        variables,
    )


def _list_depth(type_node: TypeNode, raw_scalars: frozenset[str]) -> int | None:
    depth = 0
    while not isinstance(type_node, NamedTypeNode):
        depth += isinstance(type_node, ListTypeNode)
        assert isinstance(type_node, ListTypeNode | NonNullTypeNode)
        type_node = type_node.type
    return depth if type_node.name.value in raw_scalars else None


@lru_cache(maxsize=64)
def _span_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[dict[str, msgspec.Raw]]:
    """Return a decoder for the spans of the variables `names`. The decoder skips all other variables.

    A decoder of 300 variables needs 40 KiB. With `defstruct`, it would need 180 KiB.
    """
    fields = dict.fromkeys(names, msgspec.Raw)
    variables: Any = TypedDict("variables", fields, total=False)  # type: ignore[misc]  # mypy expects literal names
    return msgspec.json.Decoder(variables)


@cache
def _raw_list_decoder(max_length: int) -> msgspec.json.Decoder[Any]:
    """Return a decoder that splits a list into spans. It fails if the list has more than `max_length` items."""
    fields = [(f"item{number}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for number in range(max_length)]
    items = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(items)

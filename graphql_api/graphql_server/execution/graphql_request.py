"""A GraphQL request in JSON, split by msgspec into spans of text without parsing the values.

The request and its `variables` are split into spans (`msgspec.Raw`). The span of a raw scalar reaches its resolver
byte for byte. Every other variable is decoded once its operation is known.

msgspec keeps the last of duplicate keys, so this module rejects duplicates itself. msgspec does not validate the
encoding of text that it skips, so this module validates that the whole body is UTF-8.
"""

import codecs
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from graphql import ListTypeNode, NamedTypeNode, NonNullTypeNode, OperationDefinitionNode, TypeNode

from graphql_api.errors import shorten
from graphql_api.graphql_server.execution.placeholder import Placeholder, replace_list
from graphql_api.graphql_server.settings import MIB, GraphQLSettings
from storage.documents.errors import BadRequest, TooLarge

# Possessive: matching a string that does not end fails at once, without trying again at each of its escapes.
_OPEN_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING = _OPEN_STRING + rb'"'
_KEY = re.compile(rb"[\s,{]*(" + _STRING + rb")\s*:\s*", re.DOTALL)
_END = re.compile(rb"[\s{]*\}\s*\Z")
# A string that is cut off at the end of the window is one match, even if it is cut after a backslash.
_BRACKET = re.compile(_OPEN_STRING + rb'(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_PRIMITIVE = re.compile(_STRING + rb"|[^\s,\]}]+", re.DOTALL)
_UTF8_CHUNK = 256 * 1024
_MIN_DUPLICATE_BYTES = len(b',"k":1')
_T = TypeVar("_T")


@dataclass(slots=True)
class GraphQLRequest:
    """A request. `variables` is a JSON object that is not decoded yet, and holds the body in memory."""

    query: str
    operation_name: str | None
    variables: msgspec.Raw | None
    placeholder: Placeholder | None = None
    """Stands for a part of `variables` if they are long."""


class _Envelope(msgspec.Struct):
    query: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    operationName: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 (the wire's name)
    variables: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    extensions: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Extensions(msgspec.Struct):
    persistedQuery: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 (the wire's name)


class _Object(msgspec.Struct):
    """Any JSON object. Its members are skipped."""


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_EXTENSIONS = msgspec.json.Decoder(_Extensions | None)
_TEXT = msgspec.json.Decoder(str | None)
_OBJECT = msgspec.json.Decoder(_Object)
_VALUE: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def read_json(body: bytes | msgspec.Raw) -> GraphQLRequest:
    """Read a request from JSON. Raises `BadRequest`, or `TooLarge` for a large value that the request does not use."""
    if not body:
        raise BadRequest("the request has no body; send a JSON object with a `query`")
    _check_utf8(body)
    if isinstance(body, bytes) and len(body) > MIB and (placeholder := replace_list(body)):
        with suppress(BadRequest):  # splitting the whole body reports the error with the correct position
            request = _split(placeholder.text)
            if request.variables is not None and placeholder.is_in(request.variables):
                request.placeholder = placeholder
                return request
    return _split(body)


def _split(body: bytes | msgspec.Raw) -> GraphQLRequest:
    envelope = _decode(_ENVELOPE, body, "the request")
    spans = {
        name: span for name in _Envelope.__struct_fields__ if (span := getattr(envelope, name)) is not msgspec.UNSET
    }
    _check_unique(body, spans)
    request = _request(spans.get("query"), spans.get("operationName"), spans.get("variables"), spans.get("extensions"))
    if request.variables is not None and 2 * len(memoryview(request.variables)) < len(memoryview(body)):
        request.variables = request.variables.copy()  # a stream would hold all of a body that is mostly something else
    return request


def read_query_string(query_string: bytes) -> GraphQLRequest:
    """Read a request from the query string of a URL. Its variables and extensions are JSON. Raises `BadRequest`."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise BadRequest("the query string is not valid: expected at most 20 parameters in UTF-8") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise BadRequest("the query string has a parameter twice; send each once")
    query, name = parameters.get("query"), parameters.get("operationName")
    variables, extensions = (
        msgspec.Raw(parameters[key].encode()) if parameters.get(key) else None for key in ("variables", "extensions")
    )
    if variables:
        _decode(_OBJECT, variables, "`variables`")
        _check_unique(variables, {})
    return _request(
        None if query is None else msgspec.Raw(msgspec.json.encode(query)),
        None if not name else msgspec.Raw(msgspec.json.encode(name)),
        variables,
        extensions,
    )


class VariableReader:
    """Reads the variables that one operation declares. Operations are cached with their reader."""

    def __init__(self, operation: OperationDefinitionNode, settings: GraphQLSettings) -> None:
        self._settings = settings
        self._names: list[str] = []
        self._list_depths: list[int | None] = []  # None if the type is not a raw scalar
        for definition in operation.variable_definitions or ():
            name = definition.variable.name.value
            if name not in self._names:
                self._names.append(name)
                self._list_depths.append(_list_depth(definition.type, settings.raw_scalars))
        self._decoder = _span_decoder(tuple(self._names)) if self._names else None
        self._raw_list = _raw_list_decoder(settings.max_raw_list_length) if any(self._list_depths) else None

    def read(self, variables: msgspec.Raw | None, placeholder: Placeholder | None = None) -> dict[str, Any]:
        """Return the value of each declared variable in `variables`. Raises `BadRequest` or `TooLarge`."""
        if variables is None or self._decoder is None:
            return {}
        decoded = _decode(self._decoder, variables, "`variables`")
        spans: dict[str, msgspec.Raw] = {}
        plain_bytes = 0
        values: dict[str, Any] = {}
        for name, field, depth in zip(self._names, decoded.__struct_fields__, self._list_depths, strict=True):
            span = getattr(decoded, field)
            if span is msgspec.UNSET:
                continue
            spans[name] = span
            if depth is not None:
                values[name] = self._raw(span, depth, name, placeholder)
                continue
            if placeholder is not None and placeholder.is_in(span):
                span = msgspec.Raw(placeholder.restore(span))
            plain_bytes += len(memoryview(span))
            if plain_bytes > self._settings.max_plain_variable_bytes:
                limit = self._settings.max_plain_variable_bytes
                raise TooLarge(f"variables without a raw scalar may have {limit:,} bytes together; send less")
            values[name] = _decode(_VALUE, span, f"the variable `{shorten(name, 60)}`")
        _check_unique(variables, spans)
        if placeholder is not None and not any(map(placeholder.is_in, spans.values())):
            raise _unused_value()
        return values

    def _raw(self, span: msgspec.Raw, depth: int, name: str, placeholder: Placeholder | None) -> Any:
        start = bytes(memoryview(span)[:1])
        if start == b"n":  # of null
            return None
        if depth == 0 or start != b"[" or self._raw_list is None:
            return placeholder.restore(span) if placeholder is not None and placeholder.is_in(span) else span
        limit = self._settings.max_raw_list_length
        decoded = _decode(self._raw_list, span, f"the variable `{shorten(name, 60)}`, a list of at most {limit} items,")
        items = (getattr(decoded, field) for field in decoded.__struct_fields__)
        return [self._raw(item, depth - 1, name, placeholder) for item in items if item is not msgspec.UNSET]


def _request(
    query: msgspec.Raw | None,
    operation_name: msgspec.Raw | None,
    variables: msgspec.Raw | None,
    extensions: msgspec.Raw | None,
) -> GraphQLRequest:
    extended = _decode(_EXTENSIONS, extensions, "`extensions`") if extensions else None
    text = _decode(_TEXT, query, "`query`") if query else None
    if text is None:
        if extended and extended.persistedQuery:
            raise BadRequest("PersistedQueryNotSupported")  # the message that Apollo's clients expect
        raise BadRequest("the request has no `query`")
    if variables is not None:
        start = bytes(memoryview(variables)[:1])
        if start == b"n":  # of null
            variables = None
        elif start != b"{":
            raise BadRequest("expected a JSON object - at `variables`")
    return GraphQLRequest(
        text,
        (_decode(_TEXT, operation_name, "`operationName`") or None) if operation_name else None,
        variables,
    )


def _decode(decoder: msgspec.json.Decoder[_T], text: bytes | msgspec.Raw, what: str) -> _T:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise BadRequest(f"{what} is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = shorten(str(error), 120)
        raise BadRequest(f"{what} is not valid: {reason}") from None


def _check_utf8(text: bytes | msgspec.Raw) -> None:
    if isinstance(text, bytes) and text.isascii():
        return
    view = memoryview(text)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(view), _UTF8_CHUNK):
            decoder.decode(view[start : start + _UTF8_CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise BadRequest("the request is not valid UTF-8") from None


def _check_unique(text: bytes | msgspec.Raw, spans: Mapping[str, msgspec.Raw]) -> None:
    """Raise `BadRequest` if a well-formed JSON object has a key twice.

    The walk over the keys jumps over values with a known span. If a span belongs to another value of the same key,
    the walk does not finish at the end of the object, which is an error too.
    """
    view = memoryview(text)
    known = 1 + sum(4 + len(key) + len(memoryview(span)) for key, span in spans.items())
    if len(view) - known < _MIN_DUPLICATE_BYTES:
        return  # another key would not fit, with or without the usual spaces
    seen = set()
    position = 0
    while match := _KEY.match(view, position):
        key = msgspec.json.decode(match[1], type=str) if b"\\" in match[1] else str(match[1][1:-1], "utf-8")
        if key in seen:
            break
        seen.add(key)
        span = spans.get(key)
        position = match.end() + len(memoryview(span)) if span is not None else _skip(view, match.end())
    if not _END.match(view, position):
        raise BadRequest("the request has a key twice in one object; send each once")


def _skip(text: memoryview, start: int) -> int:
    """Return the position after the JSON value that begins at `start`."""
    if text[start] not in b"{[":
        match = _PRIMITIVE.match(text, start)
        return match.end() if match else len(text)
    depth = 0
    for match in _BRACKET.finditer(text, start, start + MIB):
        if match[0] in (b"{", b"["):
            depth += 1
        elif match[0] in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return match.end()
    raise _unused_value()


def _unused_value() -> TooLarge:
    return TooLarge("the request has a large value that its operation does not use; leave it out")


def _list_depth(type_node: TypeNode, raw_scalars: frozenset[str]) -> int | None:
    depth = 0
    while not isinstance(type_node, NamedTypeNode):
        depth += isinstance(type_node, ListTypeNode)
        assert isinstance(type_node, ListTypeNode | NonNullTypeNode)
        type_node = type_node.type
    return depth if type_node.name.value in raw_scalars else None


@lru_cache(maxsize=256)
def _span_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder for the spans of these variables. It skips all others."""
    fields = {f"field{number}": name for number, name in enumerate(names)}
    spans = [(field, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for field in fields]
    return msgspec.json.Decoder(msgspec.defstruct("Variables", spans, rename=fields))


@cache
def _raw_list_decoder(max_length: int) -> msgspec.json.Decoder[Any]:
    """Return a decoder for lists that fails at the first item beyond `max_length`."""
    fields = [(f"item{number}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for number in range(max_length)]
    items = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(items)

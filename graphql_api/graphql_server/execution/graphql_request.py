"""A GraphQL request in JSON, split by msgspec without parsing what it carries.

The envelope and its `variables` are cut into spans (`msgspec.Raw`). A span of a raw scalar goes to the
resolver as it came, byte for byte; every other variable is decoded once its operation is known.

Traps: msgspec keeps the last of duplicate keys, so they are looked for; and it does not look at the
encoding of what it skips, so the whole body is checked to be UTF-8.
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
from graphql_api.graphql_server.execution.placeholder import Omission, omit
from graphql_api.graphql_server.settings import MIB, TransportSettings
from storage.documents.errors import BadRequest, TooLarge

# Possessive: a string that does not end is given up at once, not tried again at each of its escapes.
_OPEN_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+'
_STRING = _OPEN_STRING + rb'"'
_KEY = re.compile(rb"[\s,{]*(" + _STRING + rb")\s*:\s*", re.DOTALL)
_END = re.compile(rb"[\s{]*\}\s*\Z")
# A string that the window cuts off, be it behind a backslash, is one match: it holds no other beginnings.
_BRACKET = re.compile(_OPEN_STRING + rb'(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_PRIMITIVE = re.compile(_STRING + rb"|[^\s,\]}]+", re.DOTALL)
_UTF8_CHUNK = 256 * 1024
_MIN_DUPLICATE_BYTES = len(b',"k":1')
_T = TypeVar("_T")


@dataclass(slots=True)
class GraphQLRequest:
    """What a client asks for; the variables are a JSON object that is not read yet, and keep the body in memory."""

    query: str
    operation_name: str | None
    variables: msgspec.Raw | None
    operation_id: str | None
    """`extensions.operationId`, which names an operation on a single event stream."""
    omission: Omission | None = None
    """What `variables` are without, where they are long."""


class _Envelope(msgspec.Struct):
    query: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    operationName: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 (the wire's name)
    variables: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    extensions: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Extensions(msgspec.Struct):
    operationId: str | None = None  # noqa: N815 (the wire's name)
    persistedQuery: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 (the wire's name)


class _Object(msgspec.Struct):
    """Any JSON object; what is in it is skipped."""


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_EXTENSIONS = msgspec.json.Decoder(_Extensions | None)
_TEXT = msgspec.json.Decoder(str | None)
_OBJECT = msgspec.json.Decoder(_Object)
_VALUE: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def read_json(body: bytes | msgspec.Raw) -> GraphQLRequest:
    """Read a request from JSON bytes, or say what is wrong with it."""
    if not body:
        raise BadRequest("The request has no body; it should be a JSON object with a `query`.")
    _check_utf8(body)
    if isinstance(body, bytes) and len(body) > MIB and (omission := omit(body)):
        with suppress(BadRequest):  # which says where the fault is, and has counted without what was left out
            asked = _split(omission.text)
            if asked.variables is not None and omission.is_in(asked.variables):
                asked.omission = omission
                return asked
    return _split(body)


def _split(body: bytes | msgspec.Raw) -> GraphQLRequest:
    envelope = _decode(_ENVELOPE, body, "The request")
    spans = {
        name: span for name in _Envelope.__struct_fields__ if (span := getattr(envelope, name)) is not msgspec.UNSET
    }
    _check_unique(body, spans)
    asked = _request(spans.get("query"), spans.get("operationName"), spans.get("variables"), spans.get("extensions"))
    if asked.variables is not None and 2 * len(memoryview(asked.variables)) < len(memoryview(body)):
        asked.variables = asked.variables.copy()  # or a stream would keep all of a body that is mostly something else
    return asked


def read_query_string(query_string: bytes) -> GraphQLRequest:
    """Read a request from the query string of a URL, where variables and extensions are JSON texts."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise BadRequest("The query string of the URL is not one of valid UTF-8.") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise BadRequest("The query string of the URL names a parameter twice.")
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
    """Reads the variables that one operation declares; made once per operation."""

    def __init__(self, operation: OperationDefinitionNode, settings: TransportSettings) -> None:
        self._settings = settings
        self._names: list[str] = []
        self._list_depths: list[int | None] = []  # None where the type is no raw scalar
        for definition in operation.variable_definitions or ():
            name = definition.variable.name.value
            if name not in self._names:
                self._names.append(name)
                self._list_depths.append(_list_depth(definition.type, settings.raw_scalars))
        self._decoder = _span_decoder(tuple(self._names)) if self._names else None
        self._raw_list = _raw_list_decoder(settings.max_raw_list_length) if any(self._list_depths) else None

    def read(self, variables: msgspec.Raw | None, omission: Omission | None = None) -> dict[str, Any]:
        """Return the value of each declared variable that is given; `omission` is what `variables` are without."""
        if variables is None or self._decoder is None:
            return {}
        given = _decode(self._decoder, variables, "`variables`")
        spans: dict[str, msgspec.Raw] = {}
        plain = 0
        values: dict[str, Any] = {}
        for name, field, depth in zip(self._names, given.__struct_fields__, self._list_depths, strict=True):
            span = getattr(given, field)
            if span is msgspec.UNSET:
                continue
            spans[name] = span
            if depth is not None:
                values[name] = self._raw(span, depth, name, omission)
                continue
            if omission is not None and omission.is_in(span):
                span = msgspec.Raw(omission.restore(span))
            plain += len(memoryview(span))
            if plain > self._settings.max_plain_variable_bytes:
                raise TooLarge(f"The variables have over {self._settings.max_plain_variable_bytes} bytes.")
            values[name] = _decode(_VALUE, span, f"The variable `{shorten(name, 60)}`")
        _check_unique(variables, spans)
        if omission is not None and not any(map(omission.is_in, spans.values())):
            raise _unasked()
        return values

    def _raw(self, span: msgspec.Raw, depth: int, name: str, omission: Omission | None) -> Any:
        start = bytes(memoryview(span)[:1])
        if start == b"n":  # of null
            return None
        if depth == 0 or start != b"[" or self._raw_list is None:
            return omission.restore(span) if omission is not None and omission.is_in(span) else span
        longest = self._settings.max_raw_list_length
        what = f"The variable `{shorten(name, 60)}`, a list of at most {longest}"
        items = _decode(self._raw_list, span, what)
        given = (getattr(items, field) for field in items.__struct_fields__)
        return [self._raw(item, depth - 1, name, omission) for item in given if item is not msgspec.UNSET]


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
            raise BadRequest("PersistedQueryNotSupported")
        raise BadRequest("The request has no `query`.")
    if variables is not None:
        start = bytes(memoryview(variables)[:1])
        if start == b"n":  # of null
            variables = None
        elif start != b"{":
            raise BadRequest("`variables` should be a JSON object.")
    return GraphQLRequest(
        text,
        (_decode(_TEXT, operation_name, "`operationName`") or None) if operation_name else None,
        variables,
        extended.operationId if extended else None,
    )


def _decode(decoder: msgspec.json.Decoder[_T], text: bytes | msgspec.Raw, what: str) -> _T:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise BadRequest(f"{what} is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = shorten(str(error), 120)
        raise BadRequest(f"{what} is not as expected: {reason}") from None


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
        raise BadRequest("The request is not valid UTF-8.") from None


def _check_unique(text: bytes | msgspec.Raw, spans: Mapping[str, msgspec.Raw]) -> None:
    """Refuse a JSON object, known to be well formed, that has a key twice.

    The spans of the values are known by key, so the walk jumps over them; where they belong to another
    value of the same key, it does not end at the end of the object.
    """
    view = memoryview(text)
    least = 1 + sum(4 + len(key) + len(memoryview(span)) for key, span in spans.items())
    if len(view) - least < _MIN_DUPLICATE_BYTES:
        return  # it holds nothing else, written without spaces or with as many as is usual
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
        raise BadRequest("The request has a key twice in one object.")


def _skip(text: memoryview, start: int) -> int:
    """Return where the JSON value that starts here ends."""
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
    raise _unasked()


def _unasked() -> TooLarge:
    return TooLarge("The request has a large value under a key that nothing asks for.")


def _list_depth(type_node: TypeNode, raw_scalars: frozenset[str]) -> int | None:
    depth = 0
    while not isinstance(type_node, NamedTypeNode):
        depth += isinstance(type_node, ListTypeNode)
        assert isinstance(type_node, ListTypeNode | NonNullTypeNode)
        type_node = type_node.type
    return depth if type_node.name.value in raw_scalars else None


@lru_cache(maxsize=256)
def _span_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Make a decoder for the spans of these variables; any others cost nothing."""
    fields = {f"field{number}": name for number, name in enumerate(names)}
    spans = [(field, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for field in fields]
    return msgspec.json.Decoder(msgspec.defstruct("Variables", spans, rename=fields))


@cache
def _raw_list_decoder(longest: int) -> msgspec.json.Decoder[Any]:
    """Make a decoder for lists that fails at the first item too many, not after having kept them all."""
    fields = [(f"item{number}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for number in range(longest)]
    items = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(items)

"""Index entries: one key for each way that a document can be found, sorted as queries ask for it.

A key is what fixes the index (automatic ascending or array-contains of a field, or a composite), the
collection unless the index spans the group, the values, and the path of the document. What follows the
values a query holds fixed is, byte by byte, the sort key of the query, or of its reverse; so a query is a
range of keys, read from either end. In all of them paths rise: an index and its reverse are one set of entries.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from infra.embedded.firestore.encoding import field_paths, path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import Component, Composite, Definitions

MAX_ENTRIES = 40_000

_BY_VALUE, _BY_ELEMENT, _COMPOSITE = b"\x01", b"\x02", b"\x03"
_IN_COLLECTION, _IN_GROUP = b"\x01", b"\x02"

COMPOSITES = _COMPOSITE, b"\x04"
"""What keys of composite indexes lie between."""


def single(field: FieldPath, contains: bool, group: bool) -> bytes:
    """Return what keys of a field's own index begin with."""
    mode = _BY_ELEMENT if contains else _BY_VALUE
    return mode + path_encoding.encode_text(field_paths.to_text(field)) + (_IN_GROUP if group else _IN_COLLECTION)


def composite(number: int) -> bytes:
    """Return what keys of a composite index begin with."""
    return _COMPOSITE + number.to_bytes(4, "big")


def _begin(field: FieldPath, scopes: set[str], contains: bool) -> tuple[tuple[bytes, bool], ...]:
    """Return what keys of a field begin with in each scope, and whether a collection follows."""
    return tuple(
        (single(field, contains, scope == definitions.COLLECTION_GROUP), scope == definitions.COLLECTION)
        for scope in scopes
    )


class _Own(NamedTuple):
    """What keys of a field begin with, by its value and by its elements, and whether what is in a map has some."""

    by_value: tuple[tuple[bytes, bool], ...]
    by_element: tuple[tuple[bytes, bool], ...]
    inside: bool


@dataclass(frozen=True, slots=True)
class _Recipe:
    """How the keys of a composite index are put together."""

    base: bytes
    in_collection: bool
    parts: tuple[int, ...]  # which of the parts of keys that composite indexes of the group have among them


class Indexing:
    """The indexes of one collection group, as the writer keeps them up to date.

    Composite indexes, in all of which names rise, have most of their parts in common, so each part is encoded once
    for all of them.
    """

    def __init__(self, collection_id: str, defined: Definitions, numbered: dict[int, Composite]) -> None:
        self._collection_id = collection_id
        self._defined = defined
        self._parts: dict[Component, int] = {}
        self._recipes = [
            _Recipe(
                composite(number),
                index.scope == definitions.COLLECTION,
                tuple(self._parts.setdefault(component, len(self._parts)) for component in index.components),
            )
            for number, index in numbered.items()
            if index.collection_id == collection_id
        ]
        self._own: dict[FieldPath, _Own] = {}
        self._expiry = defined.expiries.get(collection_id)

    def entries(self, path: bytes, document_id: str, document: Any) -> dict[bytes, int]:
        """Return the keys of a document and how long a path each ends with."""
        collection = path[: -len(path_encoding.encode_segment(document_id))]
        end = path + values.END
        stored = document.fields
        members = {name: stored[name] for name in stored}
        keys: list[bytes] = []
        self._add_singles(keys, collection, (), members, end)
        if self._recipes:
            self._add_combined(keys, collection, members, end)
        return dict.fromkeys(keys, len(end))

    def check(self, document: Any, keys: Collection[bytes]) -> None:
        """Refuse a document with too many keys; one that is there already is indexed all the same, and may go."""
        if len(keys) > MAX_ENTRIES // 2 and self._count(document.fields) > MAX_ENTRIES:
            raise invalid_argument(
                f"Too many index entries for document {document.name}: at most {MAX_ENTRIES} are allowed."
            )

    def _own_of(self, path: FieldPath) -> _Own:
        """Return the indexes of a field by itself."""
        found = self._own.get(path)
        if found is None:
            modes = self._defined.modes(self._collection_id, path)
            by_value = {scope for mode, scope in modes if mode != definitions.CONTAINS}
            by_element = {scope for mode, scope in modes if mode == definitions.CONTAINS}
            if path == self._expiry:
                by_value.add(definitions.COLLECTION_GROUP)
            inside = bool(modes) or any(
                len(named) > len(path) and named[: len(path)] == path for named in self._named_paths()
            )
            found = _Own(_begin(path, by_value, contains=False), _begin(path, by_element, contains=True), inside)
            if len(self._own) < 10_000:
                self._own[path] = found
        return found

    def _named_paths(self) -> Iterator[FieldPath]:
        """Yield the fields that a definition speaks of."""
        yield from (path for collection_id, path in self._defined.overrides if collection_id == self._collection_id)
        if self._expiry is not None:
            yield self._expiry

    def _add_singles(
        self, keys: list[bytes], collection: bytes, parent: FieldPath, members: Mapping[str, Any], end: bytes
    ) -> None:
        for name in members:
            path = (*parent, name)
            by_value, by_element, inside = self._own_of(path)
            if not (by_value or by_element or inside):
                continue
            value = members[name]
            if by_value:
                encoded = values.encode_indexed(value)
                for prefix, in_collection in by_value:
                    keys.append(b"".join((prefix, collection if in_collection else b"", encoded, end)))
            kind = value.WhichOneof("value_type")
            if kind == "map_value" and inside and not values.is_typed_map(value):
                self._add_singles(keys, collection, path, value.map_value.fields, end)
            elif kind == "array_value" and by_element:
                for encoded in set(map(values.encode_indexed, value.array_value.values)):
                    for prefix, in_collection in by_element:
                        keys.append(b"".join((prefix, collection if in_collection else b"", encoded, end)))

    def _add_combined(self, keys: list[bytes], collection: bytes, members: Mapping[str, Any], end: bytes) -> None:
        parts = list(self._encoded_parts(members, end))
        for recipe in self._recipes:
            head = recipe.base + collection if recipe.in_collection else recipe.base
            for combination in product(*[parts[part] for part in recipe.parts]):
                keys.append(b"".join((head, *combination, end)))

    def _encoded_parts(self, members: Mapping[str, Any], end: bytes) -> Iterator[Collection[bytes]]:
        """Yield what each part of a key may be: nothing if the field is not there, or each element of an array."""
        ascending: dict[FieldPath, bytes] = {DOCUMENT_ID: end}
        for component in self._parts:
            path = component.field
            if component.mode == definitions.CONTAINS:
                value = field_paths.get(members, path)
                yield () if value is None else set(map(values.encode_indexed, value.array_value.values))
                continue
            encoded = ascending.get(path)
            if encoded is None:
                value = field_paths.get(members, path)
                if value is None:
                    yield ()
                    continue
                ascending[path] = encoded = values.encode_indexed(value)
            yield (values.invert(encoded) if component.mode == definitions.DESCENDING else encoded,)

    def _count(self, members: Any) -> int:
        total = 0
        for value in members.values():
            kind = value.WhichOneof("value_type")
            if kind == "array_value":
                total += len(value.array_value.values)
            else:
                total += self._count(value.map_value.fields) if kind == "map_value" else 2
        return total


def path_of(key: bytes, size: int) -> bytes:
    """Return the path that a key ends with."""
    return key[-size : -len(values.END)]

"""Index entries: keys that lead to documents, sorted as queries read them.

A key consists of the prefix of the index, the path of the collection (unless the index covers a collection group), the
values of the indexed fields, and the path of the document. A query that compares the leading fields with `==`
therefore reads one range of keys. In this range, keys are in the order of the query or in the exact reverse order.

In all stored keys, paths ascend. An index with descending names has no entries of its own. Queries read the entries of
the exact reverse of this index backwards.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from infra.embedded.firestore.encoding import field_paths, path_encoding, values
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.indexes import definitions
from infra.embedded.firestore.indexes.definitions import CompositeIndex, Definitions, EntryKinds, IndexField
from infra.embedded.firestore.messages import Document, Fields

MAX_ENTRIES = 40_000
MAX_CACHED_FIELDS = 10_000

_BY_VALUE, _BY_ELEMENT, _COMPOSITE = b"\x01", b"\x02", b"\x03"
_IN_COLLECTION, _IN_GROUP = b"\x01", b"\x02"


def single_field_prefix(path: FieldPath, *, by_element: bool, is_group: bool) -> bytes:
    """Return the prefix of the keys of a single-field index, of one collection or of a collection group."""
    mode = _BY_ELEMENT if by_element else _BY_VALUE
    return mode + path_encoding.encode_text(field_paths.to_text(path)) + (_IN_GROUP if is_group else _IN_COLLECTION)


def composite_prefix(number: int) -> bytes:
    """Return the prefix of the keys of a composite index."""
    return _COMPOSITE + number.to_bytes(4, "big")


def index_prefix(key: bytes) -> bytes:
    """Return the prefix of the index that a key belongs to, as the functions above return it."""
    if key[:1] == _COMPOSITE:
        return key[: len(composite_prefix(0))]
    return key[: path_encoding.end_of_text(key, 1) + 1]


def composite_number(prefix: bytes) -> int | None:
    """Return the number in the prefix of a composite index, or None for a single-field index."""
    return int.from_bytes(prefix[1:], "big") if prefix[:1] == _COMPOSITE else None


def field_of_prefix(prefix: bytes) -> tuple[FieldPath, tuple[bool, str]]:
    """Return the field of a single-field index, and the kind of its entries."""
    path = field_paths.split(path_encoding.decode_text(prefix[1:-1]))
    scope = definitions.COLLECTION_GROUP if prefix[-1:] == _IN_GROUP else definitions.COLLECTION
    return path, (prefix[:1] == _BY_ELEMENT, scope)


def after_index(prefix: bytes) -> bytes:
    """Return the first key after all keys of the index with this prefix."""
    return (int.from_bytes(prefix, "big") + 1).to_bytes(len(prefix), "big")


def path_of(key: bytes, size: int) -> bytes:
    """Return the path at the end of a key. `size` is the number stored with the key."""
    return key[-size : -len(values.END)]


_Prefix = tuple[bytes, bool]
"""The key prefix of an index, and whether the path of the collection follows the prefix."""


class _FieldIndexes(NamedTuple):
    """The single-field indexes of one field."""

    by_value: tuple[_Prefix, ...]
    by_element: tuple[_Prefix, ...]
    has_nested: bool
    """Whether fields inside this field may have indexes, if it is a map."""


@dataclass(frozen=True, slots=True)
class _CompositeKey:
    """The structure of the keys of a composite index."""

    prefix: bytes
    has_collection: bool
    """Whether the path of the collection follows the prefix."""
    parts: tuple[int, ...]  # positions in DocumentIndexer._parts
    has_elements: bool
    """Whether a part is an element of an array. Each element has its own key."""


class DocumentIndexer:
    """Computes the index entries of the documents of one collection group.

    Composite indexes share most of their fields, so each field is encoded once for all composite indexes.
    """

    def __init__(
        self,
        collection_id: str,
        index_definitions: Definitions,
        composite_indexes: Mapping[int, CompositeIndex],
        existing: Sequence[Definitions] = (),
    ) -> None:
        """Create an indexer. If `existing` is not empty, omit single-field entries that all of `existing` have."""
        self._collection_id = collection_id
        self._definitions = index_definitions
        self._existing = existing
        self._parts: dict[IndexField, int] = {}
        self._composite_keys = [
            _CompositeKey(
                composite_prefix(number),
                index.scope == definitions.COLLECTION,
                tuple(self._parts.setdefault(each, len(self._parts)) for each in index.fields),
                any(each.mode == definitions.CONTAINS for each in index.fields),
            )
            for number, index in composite_indexes.items()
            if index.collection_id == collection_id
        ]
        self._field_indexes: dict[FieldPath, _FieldIndexes] = {}
        self._defined_paths = index_definitions.defined_paths(collection_id)
        self._unindexed: set[str] = set()
        """Fields of the document, not of a map, that have no single-field index."""

    def entries(self, path: bytes, document_id: str, document: Document) -> dict[bytes, int]:
        """Return the keys of a document. Each key maps to the size in bytes of the path at its end."""
        collection = path[: -len(path_encoding.encode_segment(document_id))]
        end = path + values.END
        fields = document.fields
        keys: list[bytes] = []
        indexed = [name for name in fields if name not in self._unindexed]
        if indexed:
            self._add_single_field_keys(keys, collection, (), {name: fields[name] for name in indexed}, end)
        if self._composite_keys:
            self._add_composite_keys(keys, collection, fields, end)
        return dict.fromkeys(keys, len(end))

    def check_entry_count(self, document: Document, keys: Collection[bytes]) -> None:
        """Raise `StatusError` if a document to write has too many index entries."""
        if len(keys) <= MAX_ENTRIES // 2:
            return
        composite_count = sum(key[:1] == _COMPOSITE for key in keys)
        if self._count(document.fields) + composite_count > MAX_ENTRIES:
            raise invalid_argument(
                f"Too many index entries for document {document.name}: at most {MAX_ENTRIES} are allowed."
            )

    def _indexes_of(self, path: FieldPath) -> _FieldIndexes:
        found = self._field_indexes.get(path)
        if found is None:
            kinds = self._definitions.entry_kinds(self._collection_id, path)
            has_nested = bool(kinds) or any(
                len(defined) > len(path) and defined[: len(path)] == path for defined in self._defined_paths
            )
            if self._existing:
                kinds -= frozenset.intersection(
                    *(each.entry_kinds(self._collection_id, path) for each in self._existing)
                )
            found = _FieldIndexes(
                _prefixes(path, kinds, by_element=False), _prefixes(path, kinds, by_element=True), has_nested
            )
            if len(self._field_indexes) < MAX_CACHED_FIELDS:
                self._field_indexes[path] = found
        return found

    def _add_single_field_keys(
        self, keys: list[bytes], collection: bytes, parent: FieldPath, fields: Fields, end: bytes
    ) -> None:
        for name in fields:
            path = (*parent, name)
            by_value, by_element, has_nested = self._indexes_of(path)
            if not (by_value or by_element or has_nested):
                if not parent and len(self._unindexed) < MAX_CACHED_FIELDS:
                    self._unindexed.add(name)
                continue
            value = fields[name]
            if by_value:
                encoded = values.encode_indexed(value)
                for prefix, has_collection in by_value:
                    keys.append(b"".join((prefix, collection if has_collection else b"", encoded, end)))
            value_type = value.WhichOneof("value_type")
            if value_type == "map_value" and has_nested and not values.is_typed_map(value):
                self._add_single_field_keys(keys, collection, path, value.map_value.fields, end)
            elif value_type == "array_value" and by_element:
                for encoded in set(map(values.encode_indexed, value.array_value.values)):
                    for prefix, has_collection in by_element:
                        keys.append(b"".join((prefix, collection if has_collection else b"", encoded, end)))

    def _add_composite_keys(self, keys: list[bytes], collection: bytes, fields: Fields, end: bytes) -> None:
        parts = self._encoded_parts(fields, end)
        for key in self._composite_keys:
            prefix = key.prefix + collection if key.has_collection else key.prefix
            chosen = [parts[part] for part in key.parts]
            if None in chosen:
                continue  # the document lacks a field of the index
            if key.has_elements:
                alternatives = [(part,) if isinstance(part, bytes) else part for part in chosen]
                keys += [b"".join((prefix, *combination, end)) for combination in product(*alternatives)]
            else:
                keys.append(b"".join((prefix, *chosen, end)))

    def _encoded_parts(self, fields: Fields, end: bytes) -> list[Any]:
        """Return the encoded value of each part: None if the field is missing, a set of all elements for an array."""
        found: list[bytes | set[bytes] | None] = []
        ascending: dict[FieldPath, bytes] = {DOCUMENT_ID: end}
        for each in self._parts:
            path, mode = each.path, each.mode
            encoded = None if mode == definitions.CONTAINS else ascending.get(path)
            if encoded is None:
                value = field_paths.get(fields, path)
                if value is None:
                    found.append(None)
                    continue
                if mode == definitions.CONTAINS:
                    found.append(set(map(values.encode_indexed, value.array_value.values)))
                    continue
                ascending[path] = encoded = values.encode_indexed(value)
            found.append(values.invert(encoded) if mode == definitions.DESCENDING else encoded)
        return found

    def _count(self, fields: Fields, parent: FieldPath = ()) -> int:
        """Return the number of single-field entries as production counts: one for each mode of an index and each value.

        Automatic indexes of a value have two modes. Those of an array have one, with an entry for each element.
        """
        total = 0
        for name, value in fields.items():
            path = (*parent, name)
            value_type = value.WhichOneof("value_type")
            if value_type == "map_value" and not values.is_typed_map(value):
                total += self._count(value.map_value.fields, path)
                continue
            modes = [mode for mode, _ in self._definitions.modes(self._collection_id, path)]
            by_element = modes.count(definitions.CONTAINS)
            is_array = value_type == "array_value"
            total += by_element * len(value.array_value.values) if is_array else len(modes) - by_element
        return total


def _prefixes(path: FieldPath, kinds: EntryKinds, *, by_element: bool) -> tuple[_Prefix, ...]:
    scopes = sorted(scope for is_by_element, scope in kinds if is_by_element == by_element)
    groups = [scope == definitions.COLLECTION_GROUP for scope in scopes]
    return tuple(
        (single_field_prefix(path, by_element=by_element, is_group=is_group), not is_group) for is_group in groups
    )

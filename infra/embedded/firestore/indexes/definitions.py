"""Index definitions: the content of `firestore.indexes.json` as typed values.

A field without an override has an ascending, a descending and an array-contains index of its collection. An override
for a map also applies to the fields inside that map. An override for `*` applies to all fields of a collection group
that no other override covers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.embedded.firestore.encoding import field_paths
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath
from infra.embedded.firestore.errors import StatusError

ASCENDING, DESCENDING, CONTAINS = "ASCENDING", "DESCENDING", "CONTAINS"
COLLECTION, COLLECTION_GROUP = "COLLECTION", "COLLECTION_GROUP"
MODES = (ASCENDING, DESCENDING, CONTAINS)
ANY_FIELD: FieldPath = ("*",)

_REVERSE = {ASCENDING: DESCENDING, DESCENDING: ASCENDING}


class InvalidDefinitions(Exception):
    """The file of index definitions cannot be read. The message names the file and the problem."""


@dataclass(frozen=True, slots=True)
class IndexField:
    """A field of a composite index. `mode` is ASCENDING, DESCENDING or CONTAINS."""

    path: FieldPath
    mode: str


@dataclass(frozen=True, slots=True)
class CompositeIndex:
    """A composite index. Its keys end with the document name, in the direction of the last field."""

    collection_id: str
    scope: str
    fields: tuple[IndexField, ...]

    @property
    def names_descend(self) -> bool:
        """Whether the index sorts documents with equal values by descending name."""
        return self.fields[-1].mode == DESCENDING

    @property
    def stored_as(self) -> "CompositeIndex":
        """The index whose entries this index uses: the reversed index if `names_descend`, otherwise this index."""
        if not self.names_descend:
            return self
        reverse = [IndexField(each.path, _REVERSE.get(each.mode, each.mode)) for each in self.fields]
        return CompositeIndex(self.collection_id, self.scope, _without_implied_name(reverse))

    def to_json(self) -> str:
        """Return the definition as one line of JSON for `firestore.indexes.json`. Equal indexes have equal lines."""
        fields = [
            {"fieldPath": field_paths.to_text(each.path), _mode_key(each.mode): each.mode} for each in self.fields
        ]
        definition = {"collectionGroup": self.collection_id, "queryScope": self.scope, "fields": fields}
        return json.dumps(definition, sort_keys=True)


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """An index for vector search with one number of dimensions and a fixed set of equality fields.

    A vector index has no entries. The server only checks that the file defines the index that a query requires.
    """

    collection_id: str
    scope: str
    equality_fields: frozenset[FieldPath]
    field: FieldPath
    dimension: int

    def to_json(self) -> str:
        """Return the definition as one line of JSON for `firestore.indexes.json`."""
        fields: list[dict[str, Any]] = [
            {"fieldPath": field_paths.to_text(path), "order": ASCENDING} for path in sorted(self.equality_fields)
        ]
        fields.append(
            {"fieldPath": field_paths.to_text(self.field), "vectorConfig": {"dimension": self.dimension, "flat": {}}}
        )
        return json.dumps({"collectionGroup": self.collection_id, "queryScope": self.scope, "fields": fields})


FieldModes = frozenset[tuple[str, str]]
"""The single-field indexes of a field, as pairs of mode and scope."""

AUTOMATIC_MODES: FieldModes = frozenset((mode, COLLECTION) for mode in MODES)

EntryKinds = frozenset[tuple[bool, str]]
"""The index entries of a field, as pairs: whether each array element has an entry, and the scope."""


@dataclass(frozen=True)
class Definitions:
    """The definitions in a file. The default has only the automatic single-field indexes."""

    composite_indexes: tuple[CompositeIndex, ...] = ()
    vector_indexes: frozenset[VectorIndex] = frozenset()
    field_overrides: Mapping[tuple[str, FieldPath], FieldModes] = field(default_factory=dict)
    ttl_fields: Mapping[str, FieldPath] = field(default_factory=dict)
    """Maps a collection group to the field with the expiration time of a document."""

    def modes(self, collection_id: str, path: FieldPath) -> FieldModes:
        """Return the single-field indexes of a field."""
        if not self.field_overrides:
            return AUTOMATIC_MODES
        for length in range(len(path), 0, -1):
            override = self.field_overrides.get((collection_id, path[:length]))
            if override is not None:
                return override
        return self.field_overrides.get((collection_id, ANY_FIELD), AUTOMATIC_MODES)

    def entry_kinds(self, collection_id: str, path: FieldPath) -> EntryKinds:
        """Return the kinds of entries of a field. Ascending and descending indexes share their entries."""
        kinds = {(mode == CONTAINS, scope) for mode, scope in self.modes(collection_id, path)}
        if self.ttl_fields.get(collection_id) == path:
            kinds.add((False, COLLECTION_GROUP))
        return frozenset(kinds)

    def defined_paths(self, collection_id: str) -> set[FieldPath]:
        """Return the fields of a collection group that have an override or a time to live."""
        paths = {path for group, path in self.field_overrides if group == collection_id}
        ttl_field = self.ttl_fields.get(collection_id)
        return paths if ttl_field is None else paths | {ttl_field}

    def fields_to_json(self, collection_id: str) -> str:
        """Return the field overrides and the time to live of a collection group, as `from_json` reads them."""
        overrides: list[dict[str, Any]] = [
            {
                "collectionGroup": collection_id,
                "fieldPath": _path_to_text(path),
                "indexes": [{_mode_key(mode): mode, "queryScope": scope} for mode, scope in sorted(modes)],
            }
            for (group, path), modes in sorted(self.field_overrides.items(), key=lambda item: item[0])
            if group == collection_id
        ]
        ttl_field = self.ttl_fields.get(collection_id)
        if ttl_field is not None:
            overrides.append({"collectionGroup": collection_id, "fieldPath": _path_to_text(ttl_field), "ttl": True})
        return json.dumps({"fieldOverrides": overrides}, sort_keys=True)

    def missing_definition(self, index: CompositeIndex) -> str:
        """Return the JSON to add to the file to define `index`. For a single field, the JSON is a field override."""
        if len(index.fields) > 1:
            return index.to_json()
        (only,) = index.fields
        modes = self.modes(index.collection_id, only.path) | {(only.mode, index.scope)}
        indexes = [{_mode_key(mode): mode, "queryScope": scope} for mode, scope in sorted(modes)]
        override = {"collectionGroup": index.collection_id, "fieldPath": field_paths.to_text(only.path)}
        return json.dumps({**override, "indexes": indexes}, sort_keys=True)


def read(path: Path) -> Definitions:
    """Read a file in the format of `firestore.indexes.json`, or raise `InvalidDefinitions`."""
    try:
        return from_json(path.read_text())
    except KeyError as error:
        problem = f"the member {error} is missing"
        raise InvalidDefinitions(f"{path} is not a valid firestore.indexes.json: {problem}") from error
    except (OSError, ValueError, TypeError, AttributeError, StatusError) as error:
        raise InvalidDefinitions(f"{path} is not a valid firestore.indexes.json: {error}") from error


def from_json(text: str) -> Definitions:
    """Return the definitions in a text in the format of `firestore.indexes.json`."""
    content = json.loads(text)
    indexes = content.get("indexes", ())
    composite_indexes = tuple(parse_composite(each) for each in indexes if not _has_vectors(each))
    vector_indexes = frozenset(_parse_vector(each) for each in indexes if _has_vectors(each))
    field_overrides: dict[tuple[str, FieldPath], FieldModes] = {}
    ttl_fields: dict[str, FieldPath] = {}
    for each in content.get("fieldOverrides", ()):
        collection_id, field_path = each["collectionGroup"], _parse_path(each["fieldPath"])
        if each.get("ttl"):
            ttl_fields[collection_id] = field_path
        if "indexes" in each:
            modes = frozenset((_parse_mode(index), _scope(index)) for index in each["indexes"])
            field_overrides[collection_id, field_path] = modes
    return Definitions(composite_indexes, vector_indexes, field_overrides, ttl_fields)


def parse_composite(content: Mapping[str, Any]) -> CompositeIndex:
    """Return the composite index that a JSON object defines."""
    fields = [IndexField(_parse_path(each["fieldPath"]), _parse_mode(each)) for each in content["fields"]]
    return CompositeIndex(content["collectionGroup"], _scope(content), _without_implied_name(fields))


def _has_vectors(content: Mapping[str, Any]) -> bool:
    return any("vectorConfig" in each for each in content["fields"])


def _parse_vector(content: Mapping[str, Any]) -> VectorIndex:
    *others, last = [each for each in content["fields"] if each["fieldPath"] != "__name__"]
    for each in others:
        _parse_mode(each)
    equality_fields = frozenset(_parse_path(each["fieldPath"]) for each in others)
    dimension = int(last["vectorConfig"]["dimension"])
    path = _parse_path(last["fieldPath"])
    return VectorIndex(content["collectionGroup"], _scope(content), equality_fields, path, dimension)


def _without_implied_name(fields: list[IndexField]) -> tuple[IndexField, ...]:
    """Drop a trailing `__name__` that has its default direction."""
    if len(fields) > 1 and fields[-1].path == DOCUMENT_ID:
        descends = fields[-2].mode == DESCENDING
        if (fields[-1].mode == DESCENDING) == descends:
            fields = fields[:-1]
    return tuple(fields)


def _parse_mode(content: Mapping[str, Any]) -> str:
    mode = content.get("order") or content.get("arrayConfig")
    if mode not in MODES:
        raise ValueError(f"expected order or arrayConfig to be one of {', '.join(MODES)}, got {content!r}")
    return str(mode)


def _mode_key(mode: str) -> str:
    return "arrayConfig" if mode == CONTAINS else "order"


def _scope(content: Mapping[str, Any]) -> str:
    return str(content.get("queryScope", COLLECTION))


def _parse_path(text: str) -> FieldPath:
    return ANY_FIELD if text == "*" else field_paths.split(text)


def _path_to_text(path: FieldPath) -> str:
    return "*" if path == ANY_FIELD else field_paths.to_text(path)

"""Which indexes there are: `firestore.indexes.json` as typed values, and what holds without it.

Every field has ascending, descending and array-contains entries for its own collection unless a field
override says otherwise; an override of a map holds for what is in the map, and `*` for all fields of a
collection group. Composite indexes are those of the file, and those a query asked for where that is allowed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.embedded.firestore.encoding import field_paths
from infra.embedded.firestore.encoding.field_paths import DOCUMENT_ID, FieldPath

ASCENDING, DESCENDING, CONTAINS = "ASCENDING", "DESCENDING", "CONTAINS"
COLLECTION, COLLECTION_GROUP = "COLLECTION", "COLLECTION_GROUP"
MODES = (ASCENDING, DESCENDING, CONTAINS)
_REVERSE = {ASCENDING: DESCENDING, DESCENDING: ASCENDING}
ANY_FIELD: FieldPath = ("*",)


class InvalidDefinitions(Exception):
    """The file of index definitions cannot be used."""


@dataclass(frozen=True, slots=True)
class Component:
    """A field of a composite index."""

    field: FieldPath
    mode: str


@dataclass(frozen=True, slots=True)
class Composite:
    """A composite index. The name of the document comes last, in the direction of the last field."""

    collection_id: str
    scope: str
    components: tuple[Component, ...]

    @property
    def name_descending(self) -> bool:
        """Whether names fall within equal values."""
        return self.components[-1].mode == DESCENDING

    @property
    def rising(self) -> "Composite":
        """The index whose entries this one reads: itself, or, where names fall, its reverse from the other end."""
        if not self.name_descending:
            return self
        turned = [Component(each.field, _REVERSE.get(each.mode, each.mode)) for each in self.components]
        return Composite(self.collection_id, self.scope, _without_name(turned))

    def as_json(self) -> dict[str, Any]:
        """Return the index as `firestore.indexes.json` spells it."""
        spelled = [
            {"fieldPath": field_paths.to_text(each.field), _key(each.mode): each.mode} for each in self.components
        ]
        return {"collectionGroup": self.collection_id, "queryScope": self.scope, "fields": spelled}

    def text(self) -> str:
        """Return the index as one line of JSON, the same for the same index."""
        return json.dumps(self.as_json(), sort_keys=True)


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """An index of vectors of one length, behind fields that filters hold fixed. It has no entries: it only allows."""

    collection_id: str
    scope: str
    fixed: frozenset[FieldPath]
    field: FieldPath
    dimension: int

    def text(self) -> str:
        """Return the index as one line of JSON, as `firestore.indexes.json` spells it."""
        spelled: list[dict[str, Any]] = [
            {"fieldPath": field_paths.to_text(each), "order": ASCENDING} for each in sorted(self.fixed)
        ]
        spelled.append(
            {"fieldPath": field_paths.to_text(self.field), "vectorConfig": {"dimension": self.dimension, "flat": {}}}
        )
        return json.dumps({"collectionGroup": self.collection_id, "queryScope": self.scope, "fields": spelled})


Override = frozenset[tuple[str, str]]  # of mode and scope
AUTOMATIC: Override = frozenset((mode, COLLECTION) for mode in MODES)


@dataclass(frozen=True)
class Definitions:
    """What a file defines. Without a file: nothing but what is automatic."""

    composites: tuple[Composite, ...] = ()
    vectors: frozenset[VectorIndex] = frozenset()
    overrides: Mapping[tuple[str, FieldPath], Override] = field(default_factory=dict)
    expiries: Mapping[str, FieldPath] = field(default_factory=dict)  # time to live: collection group to field

    def modes(self, collection_id: str, path: FieldPath) -> Override:
        """Return how a field is indexed by itself."""
        if not self.overrides:
            return AUTOMATIC
        for length in range(len(path), 0, -1):
            found = self.overrides.get((collection_id, path[:length]))
            if found is not None:
                return found
        return self.overrides.get((collection_id, ANY_FIELD), AUTOMATIC)

    def addition(self, index: Composite) -> str:
        """Return what to add to the file for an index that is missing; of one field, it is a field override."""
        if len(index.components) > 1:
            return index.text()
        (component,) = index.components
        modes = self.modes(index.collection_id, component.field) | {(component.mode, index.scope)}
        spelled = [{_key(mode): mode, "queryScope": scope} for mode, scope in sorted(modes)]
        override = {"collectionGroup": index.collection_id, "fieldPath": field_paths.to_text(component.field)}
        return json.dumps({**override, "indexes": spelled}, sort_keys=True)


def _key(mode: str) -> str:
    return "arrayConfig" if mode == CONTAINS else "order"


def read(path: Path) -> Definitions:
    """Read a file in the form of `firestore.indexes.json`."""
    try:
        content = json.loads(path.read_text())
        indexes = content.get("indexes", ())
        composites = tuple(parse_composite(each) for each in indexes if not _has_vectors(each))
        vectors = frozenset(_parse_vector(each) for each in indexes if _has_vectors(each))
        overrides: dict[tuple[str, FieldPath], Override] = {}
        expiries: dict[str, FieldPath] = {}
        for each in content.get("fieldOverrides", ()):
            collection_id, field_path = each["collectionGroup"], _field(each["fieldPath"])
            if each.get("ttl"):
                expiries[collection_id] = field_path
            if "indexes" in each:
                overrides[collection_id, field_path] = frozenset(map(_override, each["indexes"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InvalidDefinitions(f"{path} holds no index definitions: {problem!r}") from problem
    return Definitions(composites, vectors, overrides, expiries)


def _has_vectors(content: Mapping[str, Any]) -> bool:
    return any("vectorConfig" in each for each in content["fields"])


def _parse_vector(content: Mapping[str, Any]) -> VectorIndex:
    *fixed, last = [each for each in content["fields"] if each["fieldPath"] != "__name__"]
    dimension = int(last["vectorConfig"]["dimension"])
    scope = content.get("queryScope", COLLECTION)
    fixed_fields = frozenset(_component(each).field for each in fixed)
    return VectorIndex(content["collectionGroup"], scope, fixed_fields, _field(last["fieldPath"]), dimension)


def parse_composite(content: Mapping[str, Any]) -> Composite:
    """Return the composite index that a piece of JSON defines."""
    components = _without_name([_component(each) for each in content["fields"]])
    return Composite(content["collectionGroup"], content.get("queryScope", COLLECTION), components)


def _without_name(components: list[Component]) -> tuple[Component, ...]:
    """Leave the name of the document out where it comes last of itself, in the same direction."""
    if len(components) > 1 and components[-1].field == DOCUMENT_ID:
        falling = components[-2].mode == DESCENDING
        if (components[-1].mode == DESCENDING) == falling:
            components = components[:-1]
    return tuple(components)


def _component(content: Mapping[str, Any]) -> Component:
    mode = content.get("order") or content.get("arrayConfig")
    if mode not in MODES:
        raise ValueError(f"no order or arrayConfig that is known: {content!r}")
    return Component(_field(content["fieldPath"]), mode)


def _override(content: Mapping[str, Any]) -> tuple[str, str]:
    mode = content.get("order") or content.get("arrayConfig")
    if mode not in MODES:
        raise ValueError(f"no order or arrayConfig that is known: {content!r}")
    return mode, content.get("queryScope", COLLECTION)


def _field(text: str) -> FieldPath:
    return ANY_FIELD if text == "*" else field_paths.parse(text)

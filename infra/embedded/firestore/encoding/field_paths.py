"""Field paths: functions that parse field paths, and that read, write and remove the fields of a document.

A path does not lead into a vector or a BSON value, although these values are maps in messages. To write a path below
such a value, replace the value by a map, as with a number.

A parsed path is a tuple of names. In the text of a path, names are quoted if they contain characters other than
letters, digits and `_`: `` a.`b.c`.d ``. A quoted name may contain dots, so use `parse` and do not split the text.
"""

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from infra.embedded.firestore.encoding import values
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Document, EncodedDocument, Fields, Value

FieldPath = tuple[str, ...]
Mask = tuple[FieldPath, ...] | None

DOCUMENT_ID: FieldPath = ("__name__",)
MAX_PATH_BYTES = 1500
MAX_PATH_NAMES = 20

_segment = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_simple = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")
_reserved = re.compile(r"__.*__", re.DOTALL)
_escaped = re.compile(r"\\(.)", re.DOTALL)


@lru_cache(maxsize=4096)
def parse(text: str) -> FieldPath:
    """Return the names of a field path in a request, or raise `StatusError`."""
    if len(text.encode()) > MAX_PATH_BYTES:
        raise invalid_argument(f"The property path is longer than {MAX_PATH_BYTES} bytes.")
    path = split(text)
    if len(path) > MAX_PATH_NAMES:
        raise invalid_argument(f"The property path {text} has more than {MAX_PATH_NAMES} names.")
    for name in path:
        if _reserved.fullmatch(name) and path != DOCUMENT_ID:
            raise invalid_argument(f"Invalid reserved name in field path {name}")
    return path


def split(text: str) -> FieldPath:
    """Return the names of a field path, also of one that a request cannot contain, or raise `StatusError`.

    Reverses `to_text`. The quotes of stored names can make a path longer than a path in a request. Index definitions of
    earlier versions can contain reserved names.
    """
    segments = []
    start = 0
    while match := _segment.match(text, start):
        segments.append(match[1] or _escaped.sub(r"\1", match[2]))
        start = match.end() + 1
        if match.end() == len(text):
            return tuple(segments)
        if text[match.end()] != ".":
            break
    raise invalid_argument(
        f'Invalid property path "{text}". Unquoted property names must match regex ([a-zA-Z_][a-zA-Z_0-9]*), '
        r"and quoted property names must match regex (`(?:[^`\\]|(?:\\.))+`)."
    )


def to_text(path: FieldPath) -> str:
    """Return the text of a path, with quotes where they are necessary."""
    return ".".join(name if _simple.fullmatch(name) else _quote(name) for name in path)


def _quote(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def get(fields: Fields, path: FieldPath) -> Value | None:
    """Return the value at a path, or None if the document has no such field."""
    value = None
    for name in path:
        if value is not None:
            if values.is_typed_map(value):
                return None
            fields = value.map_value.fields
        if name not in fields:
            return None
        value = fields[name]
    return value


def get_or_create(fields: Fields, path: FieldPath) -> Value:
    """Return the value at a path for writing. Create the value and its parent maps if they are missing."""
    *parents, last = path
    for name in parents:
        value = fields[name]
        if value.WhichOneof("value_type") != "map_value" or values.is_typed_map(value):
            value.Clear()
            value.map_value.SetInParent()
        fields = value.map_value.fields
    return fields[last]


def remove(fields: Fields, path: FieldPath) -> None:
    """Remove the value at a path, if it exists."""
    *parents, last = path
    for name in parents:
        if name not in fields or values.is_typed_map(fields[name]):
            return
        fields = fields[name].map_value.fields
    if last in fields:
        del fields[last]


def project(source: Fields, paths: tuple[FieldPath, ...], target: Fields) -> None:
    """Copy the values at `paths` from the fields `source` to the fields `target`."""
    for path in paths:
        value = get(source, path)
        if value is not None:
            get_or_create(target, path).CopyFrom(value)


def read_mask(request: Any) -> Mask:
    """Return the paths of the mask in a request, None without a mask, or raise `StatusError`."""
    return tuple(map(parse, request.mask.field_paths)) if request.HasField("mask") else None


def apply_mask(document: Document, mask: Mask) -> Document:
    """Return a document with the fields that a mask selects. Without a mask, return all fields."""
    if mask is None or not document.HasField("update_time"):
        return document
    selected = Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    project(document.fields, mask, selected.fields)
    return selected


def projector(paths: Mask) -> Callable[[bytes], bytes]:
    """Return a function that removes the fields that are not at `paths` from a serialized document.

    None selects all fields.
    """
    if paths is None:
        return lambda document: document
    if any(len(path) > 1 for path in paths):
        return partial(_project_nested, paths)
    return partial(_project, frozenset(name for (name,) in paths))


def _project(names: frozenset[str], document: bytes) -> bytes:
    parsed = EncodedDocument.FromString(document)
    fields = parsed.fields
    for name in [name for name in fields if name not in names]:
        del fields[name]
    projected: bytes = parsed.SerializeToString()
    return projected


def _project_nested(paths: Mask, document: bytes) -> bytes:
    projected: bytes = apply_mask(Document.FromString(document), paths).SerializeToString()
    return projected

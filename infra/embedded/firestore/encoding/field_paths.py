"""Paths of fields inside a document: read from their text, looked up, set and taken out.

A path arrives as text (`` a.`b.c`.d ``) and is a tuple of names from then on. The trap: a name with a dot
or a dash is one name when it is quoted, so a path is never split at its dots.
"""

import re
from functools import lru_cache
from typing import Any

from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.messages import Document

FieldPath = tuple[str, ...]

DOCUMENT_ID: FieldPath = ("__name__",)
MAX_PATH_BYTES = 1500

_segment = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_simple = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")
_escaped = re.compile(r"\\(.)", re.DOTALL)


@lru_cache(maxsize=4096)
def parse(text: str) -> FieldPath:
    """Return the names along a path, or refuse what is none."""
    segments = []
    start = 0
    while match := _segment.match(text, start):
        segments.append(match[1] or _escaped.sub(r"\1", match[2]))
        start = match.end() + 1
        if match.end() == len(text):
            if len(text.encode()) > MAX_PATH_BYTES:
                raise invalid_argument(f"The property path is longer than {MAX_PATH_BYTES} bytes.")
            return tuple(segments)
        if text[match.end()] != ".":
            break
    raise invalid_argument(
        f'Invalid property path "{text}". Unquoted property names must match regex ([a-zA-Z_][a-zA-Z_0-9]*), '
        r"and quoted property names must match regex (`(?:[^`\\]|(?:\\.))+`)."
    )


def to_text(path: FieldPath) -> str:
    """Return the text of a path, quoted where it must be: the inverse of `parse`."""
    return ".".join(name if _simple.fullmatch(name) else _quote(name) for name in path)


def _quote(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def get(fields: Any, path: FieldPath) -> Any | None:
    """Return the value at a path of a document's fields, or None."""
    value = None
    for name in path:
        if value is not None:
            fields = value.map_value.fields
        if name not in fields:
            return None
        value = fields[name]
    return value


def get_or_create(fields: Any, path: FieldPath) -> Any:
    """Return the value at a path to write into, making the maps on the way."""
    *parents, last = path
    for name in parents:
        value = fields[name]
        if value.WhichOneof("value_type") != "map_value":
            value.map_value.SetInParent()
        fields = value.map_value.fields
    return fields[last]


def remove(fields: Any, path: FieldPath) -> None:
    """Take the value at a path out, if there is one."""
    *parents, last = path
    for name in parents:
        if name not in fields:
            return
        fields = fields[name].map_value.fields
    if last in fields:
        del fields[last]


def project(source: Any, paths: tuple[FieldPath, ...], target: Any) -> None:
    """Copy what a mask names from the fields `source` to the fields `target`."""
    for path in paths:
        value = get(source, path)
        if value is not None:
            get_or_create(target, path).CopyFrom(value)


def apply_mask(document: Any, request: Any) -> Any:
    """Return what the mask of a request, if it has one, leaves of a document."""
    if not request.HasField("mask") or not document.HasField("update_time"):
        return document
    selected = Document(name=document.name, create_time=document.create_time, update_time=document.update_time)
    project(document.fields, tuple(map(parse, request.mask.field_paths)), selected.fields)
    return selected

"""Resource names of databases, collections and documents: parsing and validation.

A full name is `projects/{project}/databases/{database}/documents/{segments}`. Error messages repeat production's
words. Validated collection names are cached, because most documents of a request are in the same collection.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from infra.embedded.firestore.encoding.path_encoding import encode_path, is_numeric_id
from infra.embedded.firestore.errors import StatusError, invalid_argument

MAX_ID_BYTES = 1500
MAX_NAME_BYTES = 6 * 1024
MAX_COLLECTION_DEPTH = 100
MAX_CACHED_COLLECTIONS = 1024

_reserved_id = re.compile(r"__.*__", re.DOTALL)
_database = re.compile(r"projects/[!-.0-~]+/databases/[!-.0-~]+")
"""Printable ASCII without spaces and slashes, because event delivery sends both ids in HTTP headers."""


@dataclass(frozen=True, slots=True)
class ResourceName:
    """The name of a database root (no segments), a collection (an odd number) or a document (an even number)."""

    database: str
    segments: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join((self.database, "documents", *self.segments))

    @property
    def collection_id(self) -> str:
        """The id of the collection that contains this document."""
        return self.segments[-2]

    @property
    def path(self) -> bytes:
        """The segments, encoded as bytes that sort."""
        return encode_path(self.segments)


def parse_database(name: str) -> str:
    """Validate `projects/{project}/databases/{database}` and return it."""
    if not _database.fullmatch(name):
        raise invalid_argument(
            f'Invalid database name: "{name}" (expected projects/{{project}}/databases/{{database}}).'
        )
    return name


def parse(name: str) -> ResourceName:
    """Split a full name. Do not validate its ids."""
    parts = name.split("/")
    for index, expected in ((0, "projects"), (2, "databases"), (4, "documents")):
        if len(parts) <= index or parts[index] != expected:
            raise invalid_argument(f'Document name "{name}" lacks "{expected}" at index {index}.')
    if not parts[1] or not parts[3] or "" in parts[5:]:
        raise invalid_argument(f'Document name "{name}" has an empty segment.')
    return ResourceName("/".join(parts[:4]), tuple(parts[5:]))


def parse_parent(name: str) -> ResourceName:
    """Parse the name of a document or database root, which is the parent of collections."""
    parent = parse(name)
    if len(parent.segments) % 2:
        # The message of Google's Firestore. Its index is the position of a character.
        raise invalid_argument(f'Document parent name "{name}" lacks "/" at index {len(name)}.')
    return parent


def parse_document(name: str, database: str) -> ResourceName:
    """Return the name of a document of `database`, or raise if production would reject the name."""
    parent, _, document_id = name.rpartition("/")
    # Do not cache longer names, which are invalid.
    collection = _parse_collection(parent, database) if len(name) <= MAX_NAME_BYTES else None
    if collection is None or not document_id:
        return _parse_document(name, database)
    check_document_id(document_id)
    _check_length(name)
    return ResourceName(database, (*collection, document_id))


@lru_cache(maxsize=MAX_CACHED_COLLECTIONS)
def _parse_collection(name: str, database: str) -> tuple[str, ...] | None:
    """Return the segments of a valid collection name, or None."""
    try:
        return _parse_document(f"{name}/id", database).segments[:-1]
    except StatusError:
        return None


def _parse_document(name: str, database: str) -> ResourceName:
    document = parse(name)
    if document.database != database:
        raise invalid_argument(f'Document name "{name}" must be in the database of the request, "{database}".')
    if not document.segments or len(document.segments) % 2:
        raise invalid_argument(f'Document name "{name}" lacks "/" at index {len(name)}.')
    if len(document.segments) > 2 * MAX_COLLECTION_DEPTH:
        raise invalid_argument(f'Document name "{name}" has more than {MAX_COLLECTION_DEPTH} collections.')
    for collection_id, document_id in zip(document.segments[::2], document.segments[1::2], strict=True):
        check_collection_id(collection_id)
        check_document_id(document_id)
    _check_length(name)
    return document


def parse_reference(name: str) -> ResourceName:
    """Return the name of a document of any database, or raise if production would reject the name."""
    return parse_document(name, parse(name).database)


def _check_length(name: str) -> None:
    if len(name) * 4 > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
        raise invalid_argument(f"The document name is longer than {MAX_NAME_BYTES} bytes.")


def check_document_id(document_id: str) -> None:
    """Raise if the id of a document is not valid. Ids such as `__id7__` are valid."""
    _check_id(document_id)
    if document_id.startswith("__") and _reserved_id.fullmatch(document_id) and not is_numeric_id(document_id):
        raise invalid_argument(f'Resource id "{document_id}" is invalid because it is reserved.')


def check_collection_id(collection_id: str) -> None:
    """Raise if the id of a collection is not valid."""
    _check_id(collection_id)
    if collection_id.startswith("__") and _reserved_id.fullmatch(collection_id):
        raise invalid_argument(f'Collection id "{collection_id}" is invalid because it is reserved.')


def _check_id(segment: str) -> None:
    if segment in (".", ".."):
        raise invalid_argument(f'Resource id "{segment}" is invalid because it is "." or "..".')
    if len(segment) * 4 > MAX_ID_BYTES and len(segment.encode()) > MAX_ID_BYTES:
        raise invalid_argument(f"Resource id is longer than {MAX_ID_BYTES} bytes.")
    if "/" in segment:
        raise invalid_argument(f'Resource id "{segment}" is invalid because it contains "/".')

"""API keys in Firestore, each stored under the SHA-256 of the key."""

from collections.abc import Mapping
from typing import Any

from google.cloud.firestore_v1.types import query

from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import Writer

_StructuredQuery: Any = query.StructuredQuery.pb()


class KeyStore:
    """Reads and writes the documents of API keys, by the SHA-256 of each key in hexadecimal."""

    def __init__(self, firestore: Firestore, writer: Writer) -> None:
        self._firestore = firestore
        self._writer = writer

    async def read(self, digest: str) -> Mapping[str, object] | None:
        """Return the fields of the API key with this `digest`, or None if it does not exist."""
        path = document_paths.api_key(digest)
        documents = await self._firestore.batch_get([path])
        return encoding.from_document(documents[path]) if path in documents else None

    async def read_all(self) -> Mapping[str, Mapping[str, object]]:
        """Return the fields of all API keys by digest."""
        all_keys = _StructuredQuery()
        all_keys.from_.add(collection_id=document_paths.API_KEYS)
        documents = await self._firestore.documents("", all_keys)
        return {document.name.rpartition("/")[2]: encoding.from_document(document) for document in documents}

    async def write(self, digest: str, fields: Mapping[str, object]) -> None:
        """Store the fields of an API key, replacing the ones stored under this `digest`."""
        await self._writer.write(encoding.to_write(self._firestore.name(document_paths.api_key(digest)), fields))

"""API keys in Firestore. The id of each document is the SHA-256 of the key."""

from typing import Any

from google.cloud.firestore_v1.types import query

from graphql_api.auth.api_keys import ApiKey
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter

_StructuredQuery: Any = query.StructuredQuery.pb()


class KeyStore:
    """Reads and writes API keys by their digest: the SHA-256 of the key in hexadecimal."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer

    async def read(self, digest: str) -> ApiKey | None:
        """Return the API key with this `digest`, or None if it does not exist."""
        path = document_paths.api_key(digest)
        documents = await self._firestore.batch_get([path])
        return ApiKey.from_fields(encoding.from_document(documents[path])) if path in documents else None

    async def read_all(self) -> dict[str, ApiKey]:
        """Return all API keys by digest."""
        all_keys = _StructuredQuery()
        all_keys.from_.add(collection_id=document_paths.API_KEYS)
        documents = await self._firestore.documents("", all_keys)
        return {
            document.name.rpartition("/")[2]: ApiKey.from_fields(encoding.from_document(document))
            for document in documents
        }

    async def write(self, digest: str, api_key: ApiKey) -> None:
        """Store an API key under `digest`. Replaces the API key that is stored under this digest."""
        name = self._firestore.name(document_paths.api_key(digest))
        await self._writer.write(encoding.to_write(name, api_key.fields()))

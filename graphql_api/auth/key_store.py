"""API keys in Firestore. The id of each document is the SHA-256 of the key."""

from graphql_api.auth.api_keys import ApiKey, is_key
from graphql_api.auth.credential_source import Found
from graphql_api.auth.scopes import Caller
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from storage.documents import document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter
from storage.firestore.messages import StructuredQuery


class KeyStore:
    """Reads and writes API keys by their digest: the SHA-256 of the key in hexadecimal."""

    is_revocable = True

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter) -> None:
        self._firestore = firestore
        self._writer = writer

    def is_form(self, text: str) -> bool:
        """Return whether `text` has the form of a key."""
        return is_key(text)

    async def find(self, text: str) -> Found | None:
        """Return the caller to whom a key belongs, or None if the key is not valid now."""
        return await self.find_by_digest(digest(text))

    async def find_by_digest(self, key_digest: str) -> Found | None:
        """Return the caller to whom the key with this digest belongs, or None if the key is not valid now."""
        api_key = await self.read(key_digest)
        seconds = 0.0 if api_key is None else api_key.remaining_seconds()
        if api_key is None or seconds <= 0:
            return None
        caller = Caller(api_key.submitter, api_key.scopes, f"key {key_digest[:SHOWN_DIGITS]}", api_key.expires)
        return Found(caller, seconds)

    async def read(self, key_digest: str) -> ApiKey | None:
        """Return the API key with this digest, or None if it does not exist."""
        path = document_paths.api_key(key_digest)
        documents = await self._firestore.batch_get([path])
        return ApiKey.from_fields(encoding.from_document(documents[path])) if path in documents else None

    async def read_all(self) -> dict[str, ApiKey]:
        """Return all API keys by digest."""
        all_keys = StructuredQuery()
        all_keys.from_.add(collection_id=document_paths.API_KEYS)
        documents = await self._firestore.documents("", all_keys)
        return {
            document.name.rpartition("/")[2]: ApiKey.from_fields(encoding.from_document(document))
            for document in documents
        }

    async def write(self, key_digest: str, api_key: ApiKey) -> None:
        """Store an API key under its digest. Replaces the API key that is stored under this digest."""
        name = self._firestore.name(document_paths.api_key(key_digest))
        await self._writer.write(encoding.to_write(name, api_key.fields()))

"""The eraser deletes all documents of a submitter: those in its collections, and those of the root that name it.

The API and the function may run at the same time. They can write documents of the submitter shortly after its keys are
revoked, so an operator erases twice. A process that stops leaves documents, which the next run deletes: the keys are
deleted last, because sign-in tokens name only a key.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from graphql_api.auth.api_keys import ApiKey
from storage.documents import BadRequest, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document, StructuredQuery
from storage.firestore.reads.query_conditions import add_condition
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

PAGE_SIZE = 300
_COLLECTIONS_WITH_SUBMITTER = (document_paths.SESSIONS, document_paths.UPLOADS, document_paths.AUDIT_FINDINGS)
"""The collections of the root whose documents have the field `submitter`, except the collection of keys."""

Fields = Mapping[str, object]
Selector = Callable[[Fields], bool]


class Eraser:
    """Deletes the documents of one submitter. Each method raises `Unavailable` or `FirestoreError`."""

    def __init__(self, firestore: Firestore, writer: GroupCommitWriter, submitter: str) -> None:
        self._firestore = firestore
        self._writer = writer
        self._submitter = submitter

    async def check_keys(self) -> None:
        """Raise `BadRequest` if the submitter has a valid API key, with which a client could submit samples."""
        now = datetime.now(UTC)
        async for page in self._firestore.pages("", self._keys(), PAGE_SIZE):
            if any(_is_valid_key(each, now) for each in page):
                raise BadRequest(
                    f"{self._submitter} has a valid API key; first revoke its keys with "
                    f"`python -m graphql_api.auth.keys revoke --submitter {self._submitter}`"
                )

    async def erase(self) -> Counter[str]:
        """Delete all documents of the submitter. Return the number of deleted documents by collection."""
        erased: Counter[str] = Counter()
        parent = document_paths.submitter(self._submitter)
        async for page in self._firestore.pages(parent, _descendants(), PAGE_SIZE):
            await self._delete(page, erased)
        for collection in _COLLECTIONS_WITH_SUBMITTER:
            await self._delete_selected(collection, lambda fields: fields.get("submitter") == self._submitter, erased)
        keys = [key async for page in self._firestore.pages("", self._keys(), PAGE_SIZE) for key in page]
        digests = {document_paths.id_of(each.name) for each in keys}
        await self._delete_selected(
            document_paths.SIGN_IN_TOKENS, lambda fields: fields.get("key_digest") in digests, erased
        )
        await self._delete(keys, erased)
        return erased

    async def _delete_selected(self, collection: str, selects: Selector, erased: Counter[str]) -> None:
        """Delete some documents of a collection of the root. It has no indexes, so all its documents are read."""
        async for page in self._firestore.pages("", _collection(collection), PAGE_SIZE):
            await self._delete([each for each in page if selects(encoding.from_document(each))], erased)

    async def _delete(self, documents: Sequence[Document], erased: Counter[str]) -> None:
        deletions = [encoding.to_delete(each.name) for each in documents]
        for document, outcome in zip(documents, await self._writer.write_all(deletions), strict=True):
            if isinstance(outcome, Exception):
                raise outcome
            erased[document.name.split("/")[-2]] += 1

    def _keys(self) -> StructuredQuery:
        query = _collection(document_paths.API_KEYS)
        add_condition(query, "submitter", StructuredQuery.FieldFilter.EQUAL, self._submitter)
        return query


def _is_valid_key(document: Document, now: datetime) -> bool:
    try:
        return ApiKey.from_fields(encoding.from_document(document)).is_valid_at(now)
    except (KeyError, TypeError, ValueError):  # the API cannot read a damaged key either
        return False


def _collection(name: str) -> StructuredQuery:
    """Return the query of a collection."""
    query = StructuredQuery()
    query.from_.add(collection_id=name)
    return query


def _descendants() -> StructuredQuery:
    """Return the query of all documents below its parent, without their fields."""
    query = StructuredQuery()
    query.from_.add(all_descendants=True)
    query.select.fields.add(field_path="__name__")
    return query

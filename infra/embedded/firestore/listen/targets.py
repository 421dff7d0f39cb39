"""Targets of a Listen stream: their current state, and the responses that a commit causes.

A target without a limit and an offset stores no results. A change contains the old and the new document, so the target
can check whether the document matched before and matches now. A target with a limit or an offset stores the names in
its result (the window). It runs the query again at the time of each commit. Documents that enter or leave the window
are therefore in the same snapshot.
"""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.listen.turns import Turns
from infra.embedded.firestore.messages import Document, ListenResponse, timestamp
from infra.embedded.firestore.queries import result_pages, structured_query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import (
    CHILDREN,
    COLLECTION,
    DESCENDANTS,
    DOCUMENT,
    GROUP,
    ParsedChange,
    Topic,
)
from infra.embedded.firestore.storage.storage import Storage


class DocumentsTarget:
    """Documents that are listed by name."""

    has_window = False

    def __init__(self, target_id: int, database: str, full_names: list[str]) -> None:
        self.target_id = target_id
        self._names = {name: resource_names.parse_document(name, database) for name in full_names}
        self.topics: set[Topic] = {(DOCUMENT, name.database, name.segments) for name in self._names.values()}

    async def current_state(self, storage: Storage, read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that describe the state at a read time. Read the documents page by page."""
        unread = dict(self._names)

        def find(connection: sqlite3.Connection) -> list[versions.DocumentVersion | None]:
            versions.check_retained(connection, read_time)
            return versions.find_page(connection, storage.catalog, unread.values(), read_time, result_pages.PAGE_BYTES)

        while unread:
            for full_name, stored in zip(tuple(unread), await storage.read(find), strict=False):
                del unread[full_name]
                document = None if stored is None else Document.FromString(stored.document)
                yield _document_response(self.target_id, full_name, document, read_time)

    def covers(self, full_name: str) -> bool:
        """Return whether a change of a document can cause a response."""
        return full_name in self._names

    async def responses_to(self, storage: Storage, commit: list[ParsedChange], read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that changes of a commit cause. All of the changes have a topic of this target."""
        for change in commit:
            yield _document_response(self.target_id, change.full_name, change.new, change.commit_time)


class QueryTarget:
    """The documents that match a query."""

    def __init__(self, target_id: int, query: structured_query.Query, turns: Turns) -> None:
        self.target_id = target_id
        self._query = query
        self._turns = turns
        self.has_window = query.limit is not None or query.offset > 0
        """Whether the target stores the names in its result."""
        self._window: dict[str, int] = {}  # update time in nanoseconds of each document, by name
        self.topics: set[Topic] = {_topic(query)}

    async def current_state(self, storage: Storage, read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that describe the state at a read time."""
        async for _, document in result_pages.stream(storage, self._query, read_time):
            if self.has_window:
                self._window[document.name] = document.update_time.ToNanoseconds()
            yield self._changed_response(document)

    def covers(self, full_name: str) -> bool:
        """Return whether a change of a document can cause a response."""
        return self._query.covers(resource_names.parse(full_name))

    async def responses_to(self, storage: Storage, commit: list[ParsedChange], read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that changes of a commit cause. All of the changes have a topic of this target."""
        if self.has_window:
            if await self._matches_any(commit):
                async for response in self._responses_of_window(
                    storage, {change.full_name: change for change in commit}, read_time
                ):
                    yield response
            return
        for change in commit:
            await self._turns.take()
            if self._matches(change):
                yield self._changed_response(change.new)
            elif self._did_match(change):
                yield self._removed_response(change)

    async def _matches_any(self, commit: list[ParsedChange]) -> bool:
        for change in commit:
            await self._turns.take()
            if self._matches(change) or self._did_match(change):
                return True
        return False

    def _did_match(self, change: ParsedChange) -> bool:
        """Return whether a client can have a document of a change. It may have received a version in between."""
        if change.is_merged:
            return True
        return change.old is not None and self._query.matching_key(change.path, change.old) is not None

    def _matches(self, change: ParsedChange) -> bool:
        return change.new is not None and self._query.matching_key(change.path, change.new) is not None

    async def _responses_of_window(
        self, storage: Storage, commit: dict[str, ParsedChange], read_time: int
    ) -> AsyncIterator[Any]:
        before, self._window = self._window, {}
        changed = []
        async for _, document in result_pages.stream(storage, self._query, read_time):
            update_time = document.update_time.ToNanoseconds()
            self._window[document.name] = update_time
            if before.get(document.name) != update_time:
                changed.append(self._changed_response(document))
        for name in before.keys() - self._window.keys():
            if name in commit:
                yield self._removed_response(commit[name])
            else:
                response = ListenResponse()
                removal = response.document_remove
                removal.document = name
                removal.removed_target_ids.append(self.target_id)
                removal.read_time.CopyFrom(timestamp(read_time))
                yield response
        for response in changed:
            yield response

    def _changed_response(self, document: Any) -> Any:
        response = ListenResponse()
        response.document_change.document.CopyFrom(self._query.projected(document))
        response.document_change.target_ids.append(self.target_id)
        return response

    def _removed_response(self, change: ParsedChange) -> Any:
        if change.new is None:
            return _document_response(self.target_id, change.full_name, None, change.commit_time)
        response = ListenResponse()
        response.document_change.document.CopyFrom(self._query.projected(change.new))
        response.document_change.removed_target_ids.append(self.target_id)
        return response


Target = DocumentsTarget | QueryTarget


def _topic(query: structured_query.Query) -> Topic:
    """Return the topic of the documents in the collections that a query searches."""
    database, segments = query.parent.database, query.parent.segments
    if query.collection_id is None:
        return DESCENDANTS if query.all_descendants else CHILDREN, database, segments
    if query.all_descendants:
        return GROUP, database, (query.collection_id,)
    return COLLECTION, database, (*segments, query.collection_id)


def _document_response(target_id: int, full_name: str, document: Document | None, read_time: int) -> Any:
    response = ListenResponse()
    if document is None:
        response.document_delete.document = full_name
        response.document_delete.removed_target_ids.append(target_id)
        response.document_delete.read_time.CopyFrom(timestamp(read_time))
    else:
        response.document_change.document.CopyFrom(document)
        response.document_change.target_ids.append(target_id)
    return response

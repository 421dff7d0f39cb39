"""What one target of a Listen stream sees: its first state, and what each commit does to it.

Without a limit a target needs no memory: whether a document was in and is in can be told from the
change itself. With a limit or offset it keeps the names in its window and asks again, at the very time of
the commit, so that what drops out and what moves up come in the same snapshot.
"""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.messages import Document, ListenResponse, timestamp
from infra.embedded.firestore.queries import scanner, structured_query
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import ParsedChange, Topic
from infra.embedded.firestore.storage.storage import Storage


class DocumentsTarget:
    """A set of documents, by name."""

    def __init__(self, target_id: int, database: str, full_names: list[str]) -> None:
        self.target_id = target_id
        self._names = {name: resource_names.parse_document(name, database) for name in full_names}
        self.topics: set[Topic] = {(name, "") for name in full_names}

    async def first(self, storage: Storage, read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that show the state at a moment."""

        def find(connection: sqlite3.Connection) -> list[versions.Stored | None]:
            return [versions.find(connection, storage.catalog, name, read_time) for name in self._names.values()]

        for full_name, stored in zip(self._names, await storage.read(find), strict=True):
            document = None if stored is None else Document.FromString(stored.document)
            yield _changed(self.target_id, full_name, document, read_time)

    def concerns(self, change: ParsedChange) -> bool:
        """Return whether a change may be one to show."""
        return change.full_name in self._names

    async def after(self, storage: Storage, commit: list[ParsedChange], read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that a commit leads to."""
        for change in commit:
            if self.concerns(change):
                yield _changed(self.target_id, change.full_name, change.new, change.commit_time)


class QueryTarget:
    """Whatever a query finds."""

    def __init__(self, target_id: int, query: structured_query.Query) -> None:
        self.target_id = target_id
        self._query = query
        self._windowed = query.limit is not None or query.offset > 0
        self._window: dict[str, int] = {}
        self.topics: set[Topic] = {(query.parent.database, query.collection_id)}

    async def first(self, storage: Storage, read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that show the state at a moment."""
        async for _, document in scanner.stream(storage, self._query, read_time):
            if self._windowed:
                self._window[document.name] = document.update_time.ToNanoseconds()
            yield self._shown(document)

    async def remember(self, storage: Storage, read_time: int) -> None:
        """Take the state at a moment for what the client has."""
        if self._windowed:
            async for _ in self.first(storage, read_time):
                pass

    def concerns(self, change: ParsedChange) -> bool:
        """Return whether a change may be one to show."""
        return self._query.covers(change.name)

    async def after(self, storage: Storage, commit: list[ParsedChange], read_time: int) -> AsyncIterator[Any]:
        """Yield the responses that a commit leads to."""
        relevant = list(filter(self.concerns, commit))
        if self._windowed:
            if any(self._was_in(change) or self._is_in(change) for change in relevant):
                async for response in self._refill(
                    storage, {change.full_name: change for change in relevant}, read_time
                ):
                    yield response
            return
        for change in relevant:
            if self._is_in(change):
                yield self._shown(change.new)
            elif self._was_in(change):
                yield self._gone(change)

    def _was_in(self, change: ParsedChange) -> bool:
        return change.old is not None and self._query.place(change.path, change.old) is not None

    def _is_in(self, change: ParsedChange) -> bool:
        return change.new is not None and self._query.place(change.path, change.new) is not None

    async def _refill(self, storage: Storage, changed: dict[str, ParsedChange], read_time: int) -> AsyncIterator[Any]:
        before, self._window = self._window, {}
        shown = []
        async for _, document in scanner.stream(storage, self._query, read_time):
            update_time = document.update_time.ToNanoseconds()
            self._window[document.name] = update_time
            if before.get(document.name) != update_time:
                shown.append(self._shown(document))
        for name in before.keys() - self._window.keys():
            if name in changed:
                yield self._gone(changed[name])
            else:
                response = ListenResponse()
                removal = response.document_remove
                removal.document = name
                removal.removed_target_ids.append(self.target_id)
                removal.read_time.CopyFrom(timestamp(read_time))
                yield response
        for response in shown:
            yield response

    def _shown(self, document: Any) -> Any:
        response = ListenResponse()
        response.document_change.document.CopyFrom(self._query.projected(document))
        response.document_change.target_ids.append(self.target_id)
        return response

    def _gone(self, change: ParsedChange) -> Any:
        if change.new is None:
            return _changed(self.target_id, change.full_name, None, change.commit_time)
        response = ListenResponse()
        response.document_change.document.CopyFrom(self._query.projected(change.new))
        response.document_change.removed_target_ids.append(self.target_id)
        return response


Target = DocumentsTarget | QueryTarget


def _changed(target_id: int, full_name: str, document: Any | None, read_time: int) -> Any:
    response = ListenResponse()
    if document is None:
        response.document_delete.document = full_name
        response.document_delete.removed_target_ids.append(target_id)
        response.document_delete.read_time.CopyFrom(timestamp(read_time))
    else:
        response.document_change.document.CopyFrom(document)
        response.document_change.target_ids.append(target_id)
    return response

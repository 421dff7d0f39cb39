"""Firestore, as the API reads it: documents by id; `lists` has them in order."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import datetime

from graphql_api.results.listing import HEADER_FIELDS, Lists, computed_result, shown_header
from storage.documents import Arrival, Header, NotFound, Result, document_paths
from storage.documents.server_time import SERVER_TIME
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import Writer


class Store:
    """Every method takes the submitter that the credential stands for and touches no other's documents."""

    def __init__(self, firestore: Firestore, writer: Writer, *, shards: int = 1) -> None:
        self._firestore = firestore
        self._writer = writer
        self.lists = Lists(firestore, shards=shards)

    async def headers(self, submitter: str, ids: Collection[str]) -> Mapping[str, Header]:
        """Return the headers that there are among `ids`, without their raw documents."""
        paths = {
            document_paths.sample(submitter, sample_id): sample_id
            for sample_id in ids
            if document_paths.is_sample_id(sample_id)
        }
        found = await self._firestore.batch_get(paths, mask=HEADER_FIELDS) if paths else {}
        return {paths[path]: shown_header(submitter, document) for path, document in found.items()}

    async def results(self, submitter: str, ids: Collection[str]) -> Mapping[str, Result]:
        """Return the results that there are among `ids`, COMPUTED and FAILED."""
        paths = {
            document_paths.result(submitter, sample_id): sample_id
            for sample_id in ids
            if document_paths.is_sample_id(sample_id)
        }
        found = await self._firestore.batch_get(paths) if paths else {}
        return {paths[path]: computed_result(submitter, document) for path, document in found.items()}

    async def raw(self, submitter: str, sample_id: str) -> tuple[Header, bytes]:
        """Return a sample's header and its raw document, byte for byte. Raises `NotFound`."""
        path = document_paths.sample(submitter, sample_id)
        found = await self._firestore.batch_get([path]) if document_paths.is_sample_id(sample_id) else {}
        if path not in found:
            raise NotFound("there is no such sample")
        header = shown_header(submitter, found[path])
        chunks = [chunk async for chunk in self._chunks(header)]
        return header, await asyncio.to_thread(header.assemble, chunks) if chunks else header.assemble(chunks)

    async def touch(self, submitter: str, ids: Collection[str]) -> Mapping[str, datetime]:
        """Write these samples again as they are, so that functions see them again; return the time of each write.

        One that is not there, or was REJECTED, is passed over.
        """
        accepted = [
            each.id for each in (await self.headers(submitter, ids)).values() if each.arrival is Arrival.ACCEPTED
        ]
        writes = []
        for sample_id in accepted:
            name = self._firestore.name(document_paths.sample(submitter, sample_id))
            write = encoding.to_write(name, {"recompute_requested_at": SERVER_TIME})
            write.update_mask.SetInParent()  # no field is replaced
            write.current_document.exists = True
            writes.append(write)
        written = await self._writer.write_all(writes)
        for result in written:
            if isinstance(result, Exception):
                raise result
        return {
            sample_id: encoding.to_datetime(result.update_time)
            for sample_id, result in zip(accepted, written, strict=True)
        }

    async def computed_from(self, submitter: str, ids: Collection[str]) -> Mapping[str, datetime]:
        """Return the update times of the samples that the results of `ids` were computed from."""
        paths = {document_paths.result(submitter, sample_id): sample_id for sample_id in ids}
        found = await self._firestore.batch_get(paths, mask=["sample_update_time"])
        return {
            paths[path]: encoding.to_datetime(result.fields["sample_update_time"].timestamp_value)
            for path, result in found.items()
        }

    async def recomputation(self, submitter: str, recomputation_id: str) -> Mapping[str, object] | None:
        """Return the fields of what is known of a recomputation."""
        if not document_paths.is_sample_id(recomputation_id):
            return None
        path = document_paths.recomputation(submitter, recomputation_id)
        found = await self._firestore.batch_get([path])
        return encoding.from_document(found[path]) if path in found else None

    async def put_recomputation(self, submitter: str, recomputation_id: str, known: Mapping[str, object]) -> None:
        """Store what is known of a recomputation, in place of what was known."""
        name = self._firestore.name(document_paths.recomputation(submitter, recomputation_id))
        await self._writer.write(encoding.to_write(name, known))

    async def _chunks(self, header: Header) -> AsyncIterator[bytes]:
        for number in range(header.chunks):
            path = document_paths.chunk(header.submitter, header.id, header.sha256, number)
            found = await self._firestore.batch_get([path])
            if path in found:
                yield found[path].fields["data"].bytes_value

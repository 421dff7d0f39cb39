"""Random writes store the same documents on both servers."""

from dataclasses import dataclass
from typing import Any

from google.cloud.firestore_v1.field_path import FieldPath
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.compared_servers import ComparedServer, ServerPair
from tests.differential.examples import examples
from tests.differential.writes import batch_writes, collections, commits, few_ids, field_paths, paths, single


@dataclass(frozen=True)
class Get:
    """Read one document."""

    path: str

    def __call__(self, server: ComparedServer) -> Any:
        return server.client.document(self.path).get(retry=None)


@dataclass(frozen=True)
class GetAll:
    """Read several documents, or some of their fields, in one call."""

    paths: tuple[str, ...]
    mask: tuple[tuple[str, ...], ...] | None

    def __call__(self, server: ComparedServer) -> Any:
        mask = None if self.mask is None else [FieldPath(*path).to_api_repr() for path in self.mask]
        found = server.client.get_all(
            [server.client.document(path) for path in self.paths], field_paths=mask, retry=None
        )
        return sorted((snapshot.reference.path, server.normalize(snapshot)) for snapshot in found)


@dataclass(frozen=True)
class ListCollections:
    """List the collections of a document, or of the root."""

    path: str | None

    def __call__(self, server: ComparedServer) -> Any:
        parent = server.client if self.path is None else server.client.document(self.path)
        return sorted(collection.id for collection in parent.collections())


@dataclass(frozen=True)
class ListDocuments:
    """List the documents of a collection, including missing documents that have documents beneath them."""

    collection: str

    def __call__(self, server: ComparedServer) -> Any:
        return [reference.path for reference in server.client.collection(self.collection).list_documents(page_size=3)]


def all_documents(server: ComparedServer) -> Any:
    """Read all documents."""
    return _beneath(server, server.client)


def _beneath(server: ComparedServer, parent: Any) -> Any:
    found = []
    for collection in sorted(parent.collections(), key=lambda each: each.id):
        for reference in collection.list_documents():
            found += [reference.get(), *_beneath(server, reference)]
    return found


masks = st.one_of(st.none(), st.lists(field_paths, min_size=1, max_size=3, unique=True).map(tuple))
reads = st.one_of(
    st.builds(Get, paths),
    st.builds(GetAll, st.lists(paths, min_size=1, max_size=4).map(tuple), masks),
    st.builds(ListCollections, st.one_of(st.none(), st.just("a/x"))),
    st.builds(ListDocuments, st.one_of(collections, st.builds("{}/{}/{}".format, collections, few_ids, collections))),
)


@given(steps=st.lists(st.one_of(single, single, commits, batch_writes, reads), min_size=2, max_size=12))
@examples()
def test_writes_return_and_store_the_same(pair: ServerPair, steps: list[Any]) -> None:
    """Results, refusals, transforms and all stored documents are equal."""
    pair.use_empty_project()

    for step in steps:
        pair.compare(step)

    pair.compare(all_documents)

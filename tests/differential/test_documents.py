"""Writes of every kind, and what is stored after them."""

from dataclasses import dataclass
from typing import Any

from google.cloud.firestore_v1.field_path import FieldPath
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.examples import examples
from tests.differential.sides import Both, Side
from tests.differential.writes import batch_writes, collections, commits, few_ids, field_paths, paths, single


@dataclass(frozen=True)
class Get:
    """Read one document."""

    path: str

    def __call__(self, side: Side) -> Any:
        return side.client.document(self.path).get(retry=None)


@dataclass(frozen=True)
class GetAll:
    """Read several documents, or some of their fields, in one call."""

    paths: tuple[str, ...]
    mask: tuple[tuple[str, ...], ...] | None

    def __call__(self, side: Side) -> Any:
        mask = None if self.mask is None else [FieldPath(*path).to_api_repr() for path in self.mask]
        found = side.client.get_all([side.client.document(path) for path in self.paths], field_paths=mask, retry=None)
        return sorted((snapshot.reference.path, side.plain(snapshot)) for snapshot in found)


@dataclass(frozen=True)
class ListCollections:
    """List the collections of a document, or of the root."""

    path: str | None

    def __call__(self, side: Side) -> Any:
        parent = side.client if self.path is None else side.client.document(self.path)
        return sorted(collection.id for collection in parent.collections())


@dataclass(frozen=True)
class ListDocuments:
    """List the documents of a collection, with those that only have something beneath them."""

    collection: str

    def __call__(self, side: Side) -> Any:
        return [reference.path for reference in side.client.collection(self.collection).list_documents(page_size=3)]


def everything(side: Side) -> Any:
    """Read every document there is."""
    return _beneath(side, side.client)


def _beneath(side: Side, parent: Any) -> Any:
    found = []
    for collection in sorted(parent.collections(), key=lambda each: each.id):
        for reference in collection.list_documents():
            found += [reference.get(), *_beneath(side, reference)]
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
def test_writes_and_what_they_leave(both: Both, steps: list[Any]) -> None:
    """Results, refusals, transforms and stored documents are the same, whatever is written."""
    both.start_over()

    for step in steps:
        both.agree_on(step)

    both.agree_on(everything)

"""The message classes of the server have the encoding of Google's classes."""

from typing import Any

from google.cloud.firestore import CollectionReference
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding.field_paths import apply_mask, projector
from tests.infra.firestore.random_documents import values
from tests.infra.firestore.server_process import ROOT, FirestoreProcess

TIMES = st.integers(0, 2**40).map(m.timestamp)
DOCUMENTS = st.builds(
    m.Document,
    name=st.text(max_size=3),
    fields=st.dictionaries(st.text(max_size=3), values, max_size=4),
    create_time=TIMES,
    update_time=TIMES,
)


@given(DOCUMENTS, st.binary(max_size=2), st.integers(0, 5), TIMES)
def test_a_query_response_has_the_encoding_of_a_run_query_response(
    document: Any, transaction: bytes, skipped_results: int, read_time: Any
) -> None:
    others = {"transaction": transaction, "skipped_results": skipped_results, "read_time": read_time}
    response = m.QueryResponse(document=document.SerializeToString(), **others)

    received = m.RunQueryResponse.FromString(response.SerializeToString())

    expected = m.RunQueryResponse(document=document, **others)
    assert received.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(DOCUMENTS, st.binary(max_size=2), TIMES)
def test_a_response_with_a_document_has_the_encoding_of_a_batch_get_response(
    document: Any, transaction: bytes, read_time: Any
) -> None:
    response = m.BatchGetResponse(found=document.SerializeToString(), transaction=transaction, read_time=read_time)

    received = m.BatchGetDocumentsResponse.FromString(response.SerializeToString())

    expected = m.BatchGetDocumentsResponse(found=document, transaction=transaction, read_time=read_time)
    assert received.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(
    DOCUMENTS,
    st.none() | st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=2).map(tuple), max_size=3).map(tuple),
)
def test_a_response_has_the_fields_that_a_mask_selects(document: Any, mask: Any) -> None:
    document.update_time.seconds = 1  # every stored document has an update time

    received = m.Document.FromString(projector(mask)(document.SerializeToString()))

    expected = apply_mask(document, mask)
    assert received.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_documents_are_read_with_the_fields_of_a_mask(collection: CollectionReference) -> None:
    """Each document has its own fields, and documents that do not exist come last."""
    collection.document("a").set({"n": 1, "map": {"b": [1.5, None], "c": "text"}})
    collection.document("c").set({"n": 2, "other": True})
    references = [collection.document(each) for each in "abc"]

    def read(*paths: str) -> Any:
        return [(found.id, found.to_dict()) for found in collection._client.get_all(references, paths or None)]

    assert read() == [
        ("a", {"n": 1, "map": {"b": [1.5, None], "c": "text"}}),
        ("c", {"n": 2, "other": True}),
        ("b", None),
    ]
    assert read("n") == [("a", {"n": 1}), ("c", {"n": 2}), ("b", None)]
    assert read("map.c", "other") == [("a", {"map": {"c": "text"}}), ("c", {"other": True}), ("b", None)]


def test_a_query_returns_the_selected_fields_and_nested_fields(collection: CollectionReference) -> None:
    collection.document("a").set({"n": 1, "map": {"b": [1.5, None], "c": "text"}, "other": True})

    def selected(*paths: str) -> Any:
        return [found.to_dict() for found in collection.select(paths).stream()]

    assert selected("n", "map") == [{"n": 1, "map": {"b": [1.5, None], "c": "text"}}]
    assert selected("map.b", "n") == [{"n": 1, "map": {"b": [1.5, None]}}]
    assert selected("missing") == [{}]


def test_an_empty_projection_selects_all_fields(firestore: FirestoreProcess, collection: CollectionReference) -> None:
    """The documentation of the API says so. The emulator returns none. Google's client sends no empty projection."""
    collection.document("a").set({"n": 1})
    request = m.RunQueryRequest(parent=ROOT)
    request.structured_query.from_.add(collection_id=collection.id)
    request.structured_query.select.SetInParent()

    (response,) = firestore.stream("RunQuery", request, m.RunQueryResponse)

    assert response.document.fields["n"].integer_value == 1
    assert [found.to_dict() for found in collection.select([]).stream()] == [{}]

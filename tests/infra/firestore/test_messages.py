"""The message classes of the server have the encoding of Google's classes."""

from typing import Any

from google.cloud.firestore import CollectionReference
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore import messages as m
from tests.infra.firestore.random_documents import values

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
    response = m.QueryResponse(**others)
    response.document.ParseFromString(document.SerializeToString())

    received = m.RunQueryResponse.FromString(response.SerializeToString())

    expected = m.RunQueryResponse(document=document, **others)
    assert received.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


def test_a_query_returns_the_selected_fields_and_nested_fields(collection: CollectionReference) -> None:
    collection.document("a").set({"n": 1, "map": {"b": [1.5, None], "c": "text"}, "other": True})

    def selected(*paths: str) -> Any:
        return [found.to_dict() for found in collection.select(paths).stream()]

    assert selected("n", "map") == [{"n": 1, "map": {"b": [1.5, None], "c": "text"}}]
    assert selected("map.b", "n") == [{"n": 1, "map": {"b": [1.5, None]}}]
    assert selected("missing") == [{}]

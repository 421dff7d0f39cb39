"""Reads of single documents at a past time."""

from google.cloud.firestore import CollectionReference


def test_a_read_returns_the_version_of_its_time(collection: CollectionReference) -> None:
    """It includes the commit at exactly this time. Before the first version, the document does not exist."""
    before = collection.document("other").set({}).update_time
    document = collection.document("a")
    first = document.set({"n": 1}).update_time
    second = document.set({"n": 2}).update_time
    document.set({"n": 3})

    assert not document.get(read_time=before).exists
    assert document.get(read_time=first).to_dict() == {"n": 1}
    assert document.get(read_time=second).to_dict() == {"n": 2}
    assert document.get().to_dict() == {"n": 3}

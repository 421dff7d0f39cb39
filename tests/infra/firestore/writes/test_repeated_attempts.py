"""The writer runs a job again if its group was rolled back. A second attempt has the same result as a first one."""

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.writes.document_write import prepare

DATABASE = "projects/p/databases/(default)"
REQUEST_TIME = 1
FIRST, SECOND = 1_700_000_000_000_000, 1_700_000_001_000_000


def test_a_second_attempt_has_its_own_server_time() -> None:
    """Such a write is not copied for an attempt."""
    write = _write()
    write.update_transforms.add(field_path="written", set_to_server_value=REQUEST_TIME)
    prepared = prepare(write, DATABASE)

    prepared.apply(None, FIRST)
    document, result = prepared.apply(None, SECOND)

    assert document is not None
    assert document.fields["written"].timestamp_value == m.timestamp(SECOND)
    assert document.update_time == document.create_time == m.timestamp(SECOND)
    assert [each.timestamp_value for each in result.transform_results] == [m.timestamp(SECOND)]


def test_a_second_attempt_does_not_increment_again() -> None:
    """A write with other transforms than server times is copied for each attempt."""
    write = _write()
    write.update_transforms.add(field_path="count", increment=m.Value(integer_value=1))
    write.update_transforms.add(field_path="written", set_to_server_value=REQUEST_TIME)
    prepared = prepare(write, DATABASE)

    prepared.apply(None, FIRST)
    document, _ = prepared.apply(None, SECOND)

    assert document is not None
    assert document.fields["count"].integer_value == 8


def test_a_second_attempt_does_not_see_an_earlier_server_time() -> None:
    """A field can have several transforms. The increment must find the value of the write."""
    write = _write()
    write.update_transforms.add(field_path="count", increment=m.Value(integer_value=1))
    write.update_transforms.add(field_path="count", set_to_server_value=REQUEST_TIME)
    prepared = prepare(write, DATABASE)

    _, first = prepared.apply(None, FIRST)
    _, second = prepared.apply(None, FIRST)

    assert first.transform_results[0].integer_value == 8
    assert second == first


def _write() -> m.Write:
    write = m.Write(update=m.Document(name=f"{DATABASE}/documents/c/d"))
    write.update.fields["count"].integer_value = 7
    return write

"""Resource names and field paths: round trips, sort order, and the names that are rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.firestore.encoding import field_paths, path_encoding, resource_names
from infra.embedded.firestore.errors import StatusError

DATABASE = "projects/p/databases/(default)"
_segments = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=4).filter(lambda text: "/" not in text),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: f"__id{number}__"),
    ),
    max_size=5,
).map(tuple)


def _sort_key(segment: str) -> tuple[int, int, bytes]:
    if segment.startswith("__id") and segment.endswith("__"):
        return 0, int(segment[4:-2]), b""
    return 1, 0, segment.encode()


@given(_segments)
def test_a_path_survives_encoding_and_decoding(segments: tuple[str, ...]) -> None:
    """For ids of any characters."""
    assert path_encoding.decode_path(path_encoding.encode_path(segments)) == segments


@given(_segments, _segments)
def test_paths_sort_segment_by_segment(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    """Numeric ids come first, in numeric order. A parent comes before its descendants."""
    by_bytes = path_encoding.encode_path(left) < path_encoding.encode_path(right)

    assert by_bytes == (list(map(_sort_key, left)) < list(map(_sort_key, right)))


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4).map(tuple))
def test_a_field_path_survives_formatting_and_parsing(path: tuple[str, ...]) -> None:
    """A name with dots, quotes or backslashes remains one name."""
    assert field_paths.parse(field_paths.to_text(path)) == path


@pytest.mark.parametrize("project", ["", "a b", "é", "p\r\nx-header: 1", "p\n"])
def test_a_database_that_no_http_header_can_name_is_rejected(project: str) -> None:
    """The events of its documents could not be sent, or would have headers that the client chose."""
    with pytest.raises(StatusError, match="Invalid database name"):
        resource_names.parse_database(f"projects/{project}/databases/(default)")


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "1a", "a-b", "`a", "a`", "``", "a b"])
def test_an_invalid_field_path_is_rejected(text: str) -> None:
    """For example a name that needs quotes but has none."""
    with pytest.raises(StatusError, match="Invalid property path"):
        field_paths.parse(text)


@pytest.mark.parametrize(
    "path",
    [
        *("a", "a/b/c", "a/b/", "a//b", "a/..", "a/.", "a/__reserved__", "a/" + "é" * 751, "/".join(["a/b"] * 101), ""),
        *("a/__id07__", "a/__id-0__", "a/__id-07__", "a/__id٣__"),
    ],
)
def test_an_invalid_document_name_is_rejected(path: str) -> None:
    """Names of collections, names with empty, reserved or overlong ids, and a second text of a numeric id."""
    with pytest.raises(StatusError):
        resource_names.parse_document(f"{DATABASE}/documents/{path}", DATABASE)

"""Names: read back as they were written, sorted segment by segment, refused where production refuses."""

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


def _in_order(segment: str) -> tuple[int, int, bytes]:
    if segment.startswith("__id") and segment.endswith("__"):
        return 0, int(segment[4:-2]), b""
    return 1, 0, segment.encode()


@given(_segments)
def test_a_path_is_read_back_as_it_was_written(segments: tuple[str, ...]) -> None:
    """Nothing is lost, whatever characters an id has."""
    assert path_encoding.decode_path(path_encoding.encode_path(segments)) == segments


@given(_segments, _segments)
def test_paths_sort_segment_by_segment(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    """Numeric ids come first, by their numbers; a parent comes before what is beneath it."""
    by_bytes = path_encoding.encode_path(left) < path_encoding.encode_path(right)

    assert by_bytes == (list(map(_in_order, left)) < list(map(_in_order, right)))


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4).map(tuple))
def test_a_field_path_is_read_back_as_it_was_written(path: tuple[str, ...]) -> None:
    """Names with dots, quotes and backslashes stay single names."""
    assert field_paths.parse(field_paths.to_text(path)) == path


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "1a", "a-b", "`a", "a`", "``", "a b"])
def test_what_is_no_field_path_is_refused(text: str) -> None:
    """A name that needs quotes and has none is an error, not a guess."""
    with pytest.raises(StatusError, match="Invalid property path"):
        field_paths.parse(text)


@pytest.mark.parametrize(
    "path",
    ["a", "a/b/c", "a/b/", "a//b", "a/..", "a/.", "a/__reserved__", "a/" + "é" * 751, "/".join(["a/b"] * 101), ""],
)
def test_what_is_no_name_of_a_document_is_refused(path: str) -> None:
    """Collections, empty, reserved and overlong ids cannot be written to."""
    with pytest.raises(StatusError):
        resource_names.parse_document(f"{DATABASE}/documents/{path}", DATABASE)

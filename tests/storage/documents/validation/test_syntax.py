"""A long text is checked in pieces, with the same outcome as a text that is checked at once."""

import json
from collections.abc import Iterator
from typing import NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.documents import NotJson
from storage.documents.validation import json_scanner, syntax

PARTS = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    '"a"',
    '"a":',
    '"[,"',
    '"\\",{"',
    "1",
    "-0.5e3",
    "true",
    " ",
    "\n",
    "[1,2]",
    '{"a":1}',
]
PARTS += ['"\\ud800"', "[[1],[2,", "]}", ',"b":', "\x01", '"', "\\", '{"a":{"b":[', "}]}", "µ", ",,", "0"]

values = st.recursive(
    st.sampled_from(["1", '"a,b"', "true", '"\\\\"', '"]"', "[]", "{}", '"\\ud800"', '"µ"']),
    lambda inner: (
        st.lists(inner, max_size=5).map(lambda items: f"[{' , '.join(items)}]")
        | st.lists(inner, max_size=5).map(lambda items: "{" + ",".join(f'"k,":{item}' for item in items) + "}")
    ),
    max_leaves=30,
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a JSON text, or a text with one part too many or too few."""
    if draw(st.booleans()):
        return "".join(draw(st.lists(st.sampled_from(PARTS), max_size=20)))
    text = draw(values)
    if draw(st.booleans()):
        index = draw(st.integers(0, len(text)))
        text = text[:index] + draw(st.sampled_from(["", *PARTS])) + text[index + draw(st.integers(0, 1)) :]
    return text


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """Cut texts into pieces of a few bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_scanner, "_MIN_WINDOW_BYTES", 3)
        patch.setattr(json_scanner, "PIECE_BYTES", 5)
        patch.setattr(syntax, "PIECE_BYTES", 1)
        yield


def reject_constant(constant: str) -> NoReturn:
    """Raise `ValueError`: the standard library accepts NaN and infinities, which are not JSON."""
    raise ValueError(constant)


@settings(max_examples=500)
@given(texts())
@example("{,1}")
@example("[1,]")
@example("[,1]")
@example('{"a":1,}')
@example('{"a",1}')
@example("[1],[2]")
@example('{"a":[1,2],"b":3}')
@example('{"a":[1,2},"b":3]')
def test_pieces_are_json_if_and_only_if_the_text_is(text: str) -> None:
    """Brackets, commas and quotes inside strings do not matter."""
    try:
        json.loads(text, parse_constant=reject_constant)
    except ValueError:
        with pytest.raises(NotJson):
            syntax.check(text.encode())
    else:
        syntax.check(text.encode())


def test_an_error_names_the_line_and_the_column() -> None:
    """The position is that in the whole text."""
    with pytest.raises(NotJson, match=r"at line 3, column 9"):
        syntax.check(b'[1,\n2, 3,\n4, "\xc2\xb5", oops, 5]')


@pytest.mark.parametrize(
    ("raw", "place"),
    [(b"{}\n{}", "line 2, column 1"), (b"[1] x", "column 5"), (b"1 2", "column 3"), (b'{"a" 1}', "column 6")],
)
def test_the_place_is_that_of_the_first_wrong_character(raw: bytes, place: str) -> None:
    """The text of one line has a column only, because it can be a line of NDJSON."""
    with pytest.raises(NotJson, match=f" at {place}$"):
        syntax.check(raw)


@pytest.mark.parametrize("raw", [b'["ab\xff", 1, 2]', b'["abc", 1, "\xe2\x82'])
def test_bytes_that_are_not_utf_8_are_named(raw: bytes) -> None:
    """A character may be cut by the end of a piece."""
    with pytest.raises(UnicodeDecodeError) as error:
        raw.decode()
    with pytest.raises(NotJson, match=f"byte {error.value.start:,} is not UTF-8"):
        syntax.check(raw)


@pytest.mark.parametrize("part", [b'"%b"' % (b"x" * 400_000), b"1" * 400_000, b" " * 400_000 + b"1"])
def test_a_part_that_cannot_be_cut_is_too_long(part: bytes) -> None:
    """The rest of such a text is not checked."""
    with pytest.raises(syntax.TooLong, match="strings, numbers and whitespace of up to 262,144 bytes"):
        syntax.check(b"[1,%b,oops" % part)


def test_a_long_part_that_is_not_json_is_not_json() -> None:
    """Quotes without commas are not a long string."""
    with pytest.raises(NotJson):
        syntax.check(b"[1," + b'"a" ' * 100_000)

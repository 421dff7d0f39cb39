"""`POST /samples` with a body in another format than its headers say: the refusal names the header to send."""

import gzip
import json
from typing import Any

import httpx
import pytest
import zstandard

from tests.stack import Stack

SAMPLE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, 2]}'
JSON, NDJSON = "application/json", "application/x-ndjson"


def post(stack: Stack, body: bytes, content_type: str) -> httpx.Response:
    """Send a body to `/samples`."""
    return stack.post_sample(body, content_type=content_type)


def messages(response: httpx.Response) -> list[tuple[int | None, str]]:
    """Return the number of the line, if there is one, and the message of each error in a response."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in response.text.splitlines()]
    return [(line.get("line"), line["error"]["message"]) for line in lines]


@pytest.mark.parametrize("content_type", [JSON, NDJSON])
@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_compressed_data_without_an_encoding_is_refused_with_the_header_to_send(
    stack: Stack, content_type: str, encoding: str, compress: Any
) -> None:
    """NDJSON has one error for the body, and not one for each line of compressed data."""
    refused = messages(post(stack, compress(SAMPLE + b"\n" + SAMPLE), content_type))

    assert refused == [(None, f"the body is compressed with {encoding}; send the header content-encoding: {encoding}")]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_several_samples_in_a_json_body_are_refused_with_the_type_of_ndjson(stack: Stack, line_end: bytes) -> None:
    """The position alone does not say that the second sample is the problem."""
    response = post(stack, SAMPLE + line_end + SAMPLE, JSON)
    [(_, message)] = messages(response)

    assert response.status_code == 400
    assert message.endswith(
        " at line 2, column 1; for one sample per line, send the header content-type: application/x-ndjson"
    )


@pytest.mark.parametrize("body", [b'{"a": 1} x', b'{\n"a": 1,\n}', b"x\n{}", b"\n{}\n{}x", b""])
def test_other_text_that_is_not_json_has_no_hint_of_ndjson(stack: Stack, body: bytes) -> None:
    """For example a stray character, or an object that is indented."""
    [(_, message)] = messages(post(stack, body, JSON))

    assert message.startswith("not JSON: ")
    assert NDJSON not in message


def test_an_error_in_ndjson_has_the_number_of_its_line_only_once(stack: Stack) -> None:
    """The line is the member `line`. The message has the column in this line, and says what a line must be."""
    indented = b'{\n"time_stamp": 1}\n\n{"data": [1,]}'
    found = messages(post(stack, indented, NDJSON))

    assert [line for line, _ in found] == [1, 2, 4]
    for _, message in found:
        assert message.startswith("not JSON: ")
        assert "line 1" not in message
    assert found[0][1].endswith("at column 2; each line of an NDJSON body must be a whole sample")
    assert found[2][1].endswith("at column 13")


def test_nan_is_refused_with_how_to_send_a_missing_value(stack: Stack) -> None:
    """Python writes it by default."""
    [(_, message)] = messages(post(stack, b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1, NaN]}', JSON))
    [(_, infinity)] = messages(post(stack, b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [-Infinity]}', JSON))

    assert message == (
        'not JSON: NaN is not a JSON number; for a missing value, send null and the member "missing": "skip"'
    )
    assert infinity == "not JSON: -Infinity is not a JSON number"


def test_utf_16_is_refused_by_its_name(stack: Stack) -> None:
    """PowerShell writes it."""
    for encoding in ("utf-16-le", "utf-16-be"):
        body = ("\ufeff" + SAMPLE.decode()).encode(encoding)
        assert messages(post(stack, body, JSON)) == [(None, "not JSON: the text is UTF-16; send UTF-8")]


def test_the_problem_of_a_list_of_samples_names_ndjson(stack: Stack) -> None:
    """The list is stored as one rejected sample."""
    [problem] = post(stack, b"[%b, %b]" % (SAMPLE, SAMPLE), JSON).json()["problems"]

    assert problem["path"] == "$"
    assert problem["message"].endswith("got a list; send several samples with `submitMany`, or as NDJSON, one per line")

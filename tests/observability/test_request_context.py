"""The id of a request and its trace: taken from headers that are well-formed, and otherwise made."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.request_context import MAX_REQUEST_ID_CHARACTERS, RequestContext

WELL_FORMED = re.compile(r"[A-Za-z0-9._:/+=-]+")


@pytest.mark.parametrize("sent", [b"7", b"b0c1-d2_e3".replace(b"_", b"."), b"a" * MAX_REQUEST_ID_CHARACTERS])
def test_a_well_formed_request_id_is_taken(sent: bytes) -> None:
    """The client can find its request in the log."""
    assert RequestContext(sent).request_id == sent.decode()


@given(sent=st.binary(max_size=200))
def test_no_request_id_holds_other_characters(sent: bytes) -> None:
    """The id is written into the log and into a response header."""
    request_id = RequestContext(sent).request_id

    assert WELL_FORMED.fullmatch(request_id)
    assert len(request_id) <= MAX_REQUEST_ID_CHARACTERS


def test_requests_without_an_id_get_different_ids() -> None:
    """An id has 128 random bits."""
    assert len({RequestContext().request_id for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(("flags", "is_sampled"), [(b"00", False), (b"01", True), (b"03", True)])
def test_a_traceparent_names_the_trace(flags: bytes, is_sampled: bool) -> None:
    """The last bit of the flags says whether the caller records the trace."""
    context = RequestContext(traceparent=b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-" + flags)

    assert (context.trace_id, context.span_id, context.is_sampled) == ("a" * 32, "b" * 16, is_sampled)


@pytest.mark.parametrize(
    "sent",
    [
        b"00-" + b"0" * 32 + b"-" + b"b" * 16 + b"-01",
        b"00-" + b"a" * 32 + b"-" + b"0" * 16 + b"-01",
        b"00-" + b"A" * 32 + b"-" + b"b" * 16 + b"-01",
        b"ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
        b"00-" + b"a" * 31 + b"-" + b"b" * 16 + b"-01",
        b"\n",
    ],
)
def test_a_malformed_traceparent_is_ignored(sent: bytes) -> None:
    """W3C Trace Context forbids to use it."""
    assert RequestContext(traceparent=sent).trace_id == ""

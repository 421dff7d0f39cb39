"""A sample is stored byte for byte."""

import json
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.documents import Arrival, Header, InvalidSample, NotJson, Sample, SampleIdentity, document_paths
from storage.documents.chunks import CHUNK_BYTES, MAX_INLINE_BYTES
from storage.documents.validation.json_scanner import MAX_DEPTH
from storage.firestore import encoding
from tests.received import received_sample, stored_documents

RAW = b'{"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.1, -0.0, 1e-320, 9007199254740993]}'


def large(size: int) -> bytes:
    """Return a valid sample of `size` bytes."""
    return RAW[:-1] + b', "more": "%s"}' % (b"x" * (size - len(RAW) - len(b', "more": ""')))


def stored(sample: Sample) -> dict[str, dict[str, object]]:
    """Write the documents as protocol messages and read them back."""
    written = [encoding.to_write(path, document).update for path, document in stored_documents(sample)]
    return {message.name: encoding.from_document(message) for message in written}


def data(chunk: dict[str, object]) -> bytes:
    """Return the compressed data of a chunk."""
    stored = chunk["data"]
    assert isinstance(stored, bytes)
    return stored


@pytest.mark.parametrize(
    "size", [len(RAW) + 20, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_a_raw_document_round_trips_byte_for_byte(size: int) -> None:
    """Small ones are in the header, larger ones in chunks."""
    raw = large(size)
    sample = received_sample(raw, submitter="local")

    *chunks, header = stored(sample).values()
    read = Header.from_fields("local", sample.header.id, header)

    assert len(raw) == size
    assert read.assemble(data(chunk) for chunk in chunks) == raw
    assert read == sample.header


@given(st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False)))
def test_any_json_text_is_stored(members: dict[str, object]) -> None:
    """Rejected samples are stored too."""
    raw = json.dumps(members).encode()
    sample = received_sample(raw, submitter="local")

    (header,) = stored(sample).values()

    assert sample.header.arrival is Arrival.REJECTED
    assert Header.from_fields("local", sample.header.id, header).assemble([]) == raw


@given(st.binary(), st.integers(0, 2 * MAX_DEPTH))
@example(b"\xff", MAX_DEPTH)
@example(b"\xe2\x82", MAX_DEPTH)
def test_any_bytes_are_stored_or_are_not_json(value: bytes, depth: int) -> None:
    """Text that is nested too deeply is stored unread, but it must be UTF-8."""
    raw = b'{"note":%b%b%b}' % (b"[" * depth, value, b"]" * depth)
    try:
        sample = received_sample(raw, submitter="local")
    except NotJson:
        return

    (header,) = stored(sample).values()

    assert Header.from_fields("local", sample.header.id, header).assemble([]) == raw


@pytest.mark.parametrize("unread", [b'{"note":"%b"}' % (b"x" * 1_000_000), b'{"note":%b' % (b"[" * 1_000_000)])
def test_a_large_document_that_is_not_read_completely_is_utf_8(unread: bytes) -> None:
    """As a small one. A chunk could hold any bytes."""
    assert not received_sample(unread, submitter="local").header.is_json
    with pytest.raises(NotJson, match="is not UTF-8"):
        received_sample(unread + b"\xff", submitter="local")


def test_chunks_are_below_the_header() -> None:
    """The header of an earlier release does not name an upload. Its digest then stands for the upload."""
    sample = received_sample(large(CHUNK_BYTES + 1), submitter="local")

    header, digest = f"submitters/local/samples/{sample.header.id}", sample.header.sha256[:16]
    assert sample.document()[0] == header
    assert sample.header.chunk_paths() == [f"{header}/chunks/{digest}-0000", f"{header}/chunks/{digest}-0001"]


def test_samples_spread_evenly_over_the_shards() -> None:
    """Ids are random, so all shards are equally likely."""
    shards = Counter(received_sample(RAW, submitter="local", shards=4).header.shard for _ in range(400))

    assert sorted(shards) == [0, 1, 2, 3]
    assert min(shards.values()) > 50


def test_every_document_stays_below_the_limits_of_firestore_and_eventarc() -> None:
    """A document may have 1 MiB. Eventarc drops events over 512 KB."""
    for size in (MAX_INLINE_BYTES, 2 * CHUNK_BYTES):
        sizes = [
            encoding.to_write(path, document).update.ByteSize()
            for path, document in stored_documents(received_sample(large(size), submitter="local"))
        ]

        assert max(sizes) < 1_000_000
        assert sizes[-1] < 400_000


def test_a_raw_document_with_other_bytes_is_rejected() -> None:
    """The digest reveals a lost chunk."""
    sample = received_sample(large(2 * CHUNK_BYTES), submitter="local")
    first, _second, _header = stored(sample).values()

    with pytest.raises(InvalidSample, match="got 921,600 bytes that differ"):
        sample.header.assemble([data(first)])


def test_text_that_is_not_json_raises_an_error() -> None:
    """It cannot be stored as a sample."""
    with pytest.raises(NotJson):
        received_sample(b"[1, 2", submitter="local")


def test_an_idempotency_key_determines_one_id_per_submitter() -> None:
    """Different pairs of submitter and key have different ids."""
    assert document_paths.keyed_sample_id("a", "k") == document_paths.keyed_sample_id("a", "k")
    assert document_paths.keyed_sample_id("a", "k") != document_paths.keyed_sample_id("b", "k")
    assert document_paths.keyed_sample_id("a", "b/k") != document_paths.keyed_sample_id("a/b", "k")
    assert document_paths.is_uuid(document_paths.keyed_sample_id("a", "k"))


@pytest.mark.parametrize("text", ["", "..", "a/b", "A1", "{5a3b6c1e-8f57-4a0e-9f0c-6b8f6a1d2c90}", "x" * 2_000])
def test_only_a_canonical_uuid_is_a_sample_id(text: str) -> None:
    """Other texts of a client never become part of a path."""
    assert not document_paths.is_uuid(text)


@pytest.mark.parametrize("offset", [0, 2**20 - 20, 2**20 - 8, 2**20, 3 * 2**20])
def test_an_idempotency_key_is_found_anywhere_in_a_large_sample(offset: int) -> None:
    """The id of the sample depends on it. Without a key, chunks are written before the sample is parsed."""
    spaces = b" " * offset

    assert SampleIdentity.before_parsing(b"{%b}" % spaces, "local", None) is not None
    assert SampleIdentity.before_parsing(b'{%b"idempotency_key":"a"}' % spaces, "local", None) is None

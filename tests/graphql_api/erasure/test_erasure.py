"""The command that erases a submitter leaves none of its documents, and all documents of other submitters."""

import contextlib
import json
import sqlite3
from typing import Any

import pytest

from graphql_api.auth.secret_text import digest
from graphql_api.erasure.__main__ import main
from storage.documents import document_paths
from storage.firestore.messages import Document
from tests.stack import FIXTURE, Stack, eventually

GONE, KEPT = "erasure-gone", "erasure-kept"
"""Submitters whose names are in no document of another test."""

LARGE = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [%s]}' % b", ".join([b"0.123456789"] * 100_000)
REJECTED = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": []}'
LABELED = b'{"time_stamp": "2019-05-01T06:00:00Z", "data": [1], "labels": {"site": "bern"}}'
DELETE = 'mutation ($ids: [ID!]) { deleteSamples(ids: $ids, reason: "wrong") { id } }'
RETENTION = "mutation { setRetention(sampleDays: 30) { sampleDays } }"
OTHER_COLLECTIONS = (
    document_paths.ROLLUPS,
    document_paths.SERIES_ROLLUPS,
    document_paths.HOURLY_ARCHIVE,
    document_paths.HOURLY_ARCHIVE_SERIES,
    document_paths.FAILED_ATTEMPTS,
    document_paths.RECOMPUTATIONS,
)
"""The collections of a submitter that this test fills itself, because their documents are written later."""


def erase(stack: Stack, submitter: str) -> Any:
    """Run the command. Return the number of erased documents by collection."""
    return json.loads(stack.run(main, "--submitter", submitter, "--yes"))


def documents(stack: Stack, word: str) -> list[str]:
    """Return the names of the documents that contain a word in their name or in their fields."""
    current = "SELECT document FROM versions JOIN documents ON version = sequence WHERE instr(document, ?)"
    with contextlib.closing(sqlite3.connect(f"file:{stack.data_file}?mode=ro", uri=True)) as live:
        return [Document.FromString(row).name for (row,) in live.execute(current, (word.encode(),))]


def fill(stack: Stack, submitter: str) -> None:
    """Store documents of a submitter in all collections."""
    firestore = stack.firestore()
    key = stack.new_key(submitter, "submit,read,admin", label=f"key of {submitter}")
    samples = [FIXTURE.read_bytes(), LARGE, REJECTED, LABELED, LABELED]
    ids = [stack.post_sample(raw, x_api_key=key).json()["id"] for raw in samples]
    for sample_id in (*ids[:2], *ids[3:]):
        stack.wait_for(sample_id, key=key)
    stack.graphql(DELETE, {"ids": ids[4:]}, key=key)
    stack.graphql(RETENTION, key=key)
    firestore.document(document_paths.session(f"session of {submitter}")).set({"submitter": submitter})
    firestore.document(document_paths.sign_in_token(f"token of {submitter}")).set({"key_digest": digest(key)})
    firestore.document(document_paths.upload(f"upload of {submitter}")).set({"submitter": submitter})
    firestore.document(document_paths.audit_finding(f"finding of {submitter}")).set({"submitter": submitter})
    for collection in OTHER_COLLECTIONS:
        firestore.document(f"{document_paths.submitter(submitter)}/{collection}/one").set({"field": 1})


def test_a_submitter_is_erased_and_others_are_not(stack: Stack) -> None:
    """The command refuses a submitter with a valid key, because samples could arrive meanwhile."""
    for submitter in (GONE, KEPT):
        fill(stack, submitter)
    kept = set(documents(stack, KEPT))

    with pytest.raises(SystemExit, match="first revoke its keys"):
        erase(stack, GONE)
    stack.keys("revoke", "--submitter", GONE, "--yes")
    damaged = stack.firestore().document(document_paths.api_key("damaged"))
    damaged.set({"submitter": GONE})  # the API cannot use this key
    erased = erase(stack, GONE)
    # A write that was in flight can store a document after the erasure, so the runbook repeats the command.
    eventually(
        lambda: (erase(stack, GONE), documents(stack, GONE)) == ({}, []),
        lambda: f"{documents(stack, GONE)} in {stack.log}",
    )

    assert set(documents(stack, KEPT)) >= kept  # rollups can follow later
    collections = {name.split("/")[-2] for name in kept}
    assert erased.keys() >= collections
    assert collections >= {*OTHER_COLLECTIONS, "api_keys", "audit_log", "chunks", "deletions", "results", "samples"}

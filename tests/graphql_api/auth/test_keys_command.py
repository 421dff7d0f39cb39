"""The keys command: what it revokes, and which options it refuses."""

import os
import subprocess
import sys

import pytest

from graphql_api.auth.api_keys import digest
from tests.stack import Stack


def run(stack: Stack, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    """Run the keys command and return its exit code and its output."""
    command = [sys.executable, "-m", "graphql_api.auth.keys", *arguments]
    environment = stack.environment | stack.firestore_environment
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, stdin=stdin)


def answering(text: str) -> int:
    """Return a terminal at which a user has typed `text`."""
    user, terminal = os.openpty()
    os.write(user, text.encode())
    return terminal


def test_a_key_is_revoked_by_the_prefix_of_its_digest(stack: Stack) -> None:
    """The other key of the submitter stays valid."""
    revoked, kept = stack.new_key("by-digest"), stack.new_key("by-digest")

    done = run(stack, "revoke", "--digest", digest(revoked)[:12], "--yes")

    assert (done.returncode, done.stdout) == (0, f"revoked {digest(revoked)[:12]} of by-digest\n")
    lines = stack.keys("list", "--submitter", "by-digest").splitlines()
    assert {line[:12]: "revoked" in line for line in lines} == {digest(revoked)[:12]: True, digest(kept)[:12]: False}


@pytest.mark.parametrize("prefix", ["", "0", "abcdef1", "xyzxyzxy", "0" * 65])
def test_a_short_or_malformed_digest_revokes_nothing(stack: Stack, prefix: str) -> None:
    """An empty digest would be the prefix of every key of every submitter."""
    refused = run(stack, "revoke", "--digest", prefix, "--yes")

    assert refused.returncode == 2
    assert "expected 8 to 64 hexadecimal digits" in refused.stderr
    assert stack.post_graphql("{ __typename }").status_code == 200


def test_an_ambiguous_digest_revokes_nothing(stack: Stack) -> None:
    """Two digests with equal starts occur by chance only if there are very many keys, so this test makes two."""
    collection = stack.firestore().collection("api_keys")
    fields = collection.document(digest(stack.new_key("ambiguous"))).get().to_dict()
    for end in "ab":
        collection.document("12345678" + end * 56).set(fields)

    refused = run(stack, "revoke", "--digest", "12345678", "--yes")
    done = run(stack, "revoke", "--digest", "12345678a", "--yes")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "12345678 is the prefix of 2 digests; give a longer prefix" in refused.stderr
    assert done.stdout == "revoked 12345678aaaa of ambiguous\n"


@pytest.mark.parametrize(("answer", "is_revoked"), [("y\n", True), ("n\n", False), ("\n", False), (None, False)])
def test_revocation_lists_the_keys_and_asks(stack: Stack, answer: str | None, is_revoked: bool) -> None:
    """Without a terminal, the option --yes is required."""
    submitter = f"asked-{answer and ord(answer[0])}"
    key = stack.new_key(submitter, "submit,read", "--label", "roof sensor")

    asked = run(
        stack,
        "revoke",
        "--submitter",
        submitter,
        stdin=subprocess.DEVNULL if answer is None else answering(answer),
    )

    assert digest(key)[:12] in asked.stderr
    assert "roof sensor" in asked.stderr
    assert "Revoke 1 keys?" in asked.stderr
    assert asked.returncode == (0 if is_revoked else 1)
    assert ("no key was revoked" in asked.stderr) == (not is_revoked)
    assert ("revoked" in stack.keys("list", "--submitter", submitter)) == is_revoked


@pytest.mark.parametrize("days", ["nan", "inf", "-inf", "-1", "1e12", "ten", ""])
def test_an_impossible_lifetime_is_refused(stack: Stack, days: str) -> None:
    """The error names the allowed range."""
    refused = run(stack, "create", "--submitter", "a", f"--expires-in-days={days}")

    assert refused.returncode == 2
    assert f"expected a number of days from 0 to 36,500, got '{days}'" in refused.stderr

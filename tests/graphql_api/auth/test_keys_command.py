"""The keys command: what it revokes, and which options it refuses."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from graphql_api.auth import key_file, keys
from graphql_api.auth.secret_text import digest
from storage.firestore import client
from storage.firestore.writes.group_commit_writer import GroupCommitWriter
from tests.graphql_api.auth.test_key_arguments import refusal
from tests.ports import free_port
from tests.stack import Stack


@contextlib.contextmanager
def answering(text: str | None) -> Iterator[TextIO]:
    """Return a terminal at which a user has typed `text`, or an input that is not a terminal."""
    if text is None:
        with Path(os.devnull).open() as empty:
            yield empty
        return
    user, terminal = os.openpty()
    os.write(user, text.encode())
    with os.fdopen(terminal) as opened:
        yield opened
    os.close(user)


def test_a_key_is_revoked_by_the_prefix_of_its_digest(stack: Stack) -> None:
    """The other key of the submitter stays valid. The audit log says so."""
    revoked, kept = stack.new_key("by-digest"), stack.new_key("by-digest")

    done = stack.keys("revoke", "--digest", digest(revoked)[:12], "--yes")

    assert done == f"revoked {digest(revoked)[:12]} of by-digest\n"
    lines = stack.keys("list", "--submitter", "by-digest").splitlines()
    assert {line[:12]: "revoked" in line for line in lines} == {digest(revoked)[:12]: True, digest(kept)[:12]: False}
    newest = json.loads(stack.keys("audit", "--submitter", "by-digest", "--first", "1"))
    assert (newest["actor"], newest["action"], newest["details"]) == (
        "operator",
        "key.revoked",
        f"key {digest(revoked)[:12]}",
    )


def test_a_digest_can_have_upper_case_digits(stack: Stack) -> None:
    """PowerShell prints digests like this. The message said that its digits are not hexadecimal."""
    key = stack.new_key("upper-case")

    done = stack.keys("revoke", "--digest", digest(key).upper(), "--yes")

    assert done == f"revoked {digest(key)[:12]} of upper-case\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, as Linux has one")
def test_a_new_key_that_cannot_be_printed_is_named(stack: Stack) -> None:
    """It is valid, but unknown. The user must know which key to revoke."""
    command = [sys.executable, "-m", "graphql_api.auth.keys", "create", "--submitter", "unprinted"]
    environment = stack.environment | stack.firestore_environment
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=environment, check=False, stdout=full, stderr=subprocess.PIPE, text=True)

    [line] = stack.keys("list", "--submitter", "unprinted").splitlines()
    assert done.stderr == f"error: cannot print the new key {line[:12]}: No space left on device; revoke it\n"
    assert done.returncode == 1


def test_a_damaged_key_does_not_prevent_the_revocation_of_others(stack: Stack) -> None:
    """The output names the damaged document."""
    key = stack.new_key("one-damaged")
    stack.firestore().document("api_keys/damaged").set({"submitter": "one-damaged"})

    command = [sys.executable, "-m", "graphql_api.auth.keys", "list", "--submitter", "one-damaged"]
    environment = stack.environment | stack.firestore_environment
    listed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    assert stack.keys("revoke", "--submitter", "one-damaged", "--yes") == f"revoked {digest(key)[:12]} of one-damaged\n"
    assert listed.stdout.startswith(digest(key)[:12])
    assert "the API key api_keys/damaged is damaged" in listed.stderr


@pytest.mark.parametrize("prefix", ["", "0", "abcdef1", "xyzxyzxy", "0" * 65])
def test_a_short_or_malformed_digest_revokes_nothing(
    capsys: pytest.CaptureFixture[str], stack: Stack, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """An empty digest would be the prefix of every key of every submitter."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)

    assert "expected 8 to 64 hexadecimal digits" in refusal(capsys, "revoke", "--digest", prefix, "--yes")

    assert stack.post_graphql("{ __typename }").status_code == 200


def test_an_ambiguous_digest_revokes_nothing(stack: Stack) -> None:
    """Two digests with equal starts occur by chance only if there are very many keys, so this test makes two."""
    collection = stack.firestore().collection("api_keys")
    fields = collection.document(digest(stack.new_key("ambiguous"))).get().to_dict()
    assert fields is not None
    for end in "ab":
        collection.document("12345678" + end * 56).set(fields)

    with pytest.raises(SystemExit, match="12345678 is the prefix of 2 digests; use more digits"):
        stack.keys("revoke", "--digest", "12345678", "--yes")

    assert stack.keys("revoke", "--digest", "12345678a", "--yes") == "revoked 12345678aaaa of ambiguous\n"


@pytest.mark.parametrize(("answer", "is_revoked"), [("y\n", True), ("n\n", False), ("\n", False), (None, False)])
def test_revocation_lists_the_keys_and_asks(
    stack: Stack,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str | None,
    is_revoked: bool,
) -> None:
    """Without a terminal, the option --yes is required."""
    submitter = f"asked-{answer and ord(answer[0])}"
    key = stack.new_key(submitter, label="roof sensor")
    problem = ""

    with answering(answer) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        try:
            stack.keys("revoke", "--submitter", submitter)
        except SystemExit as ended:
            problem = str(ended.code)

    asked = capsys.readouterr().err
    assert digest(key)[:12] in asked
    assert "roof sensor" in asked
    assert ("Revoke this key?" in asked) == (answer is not None)
    assert problem.startswith("error: no key was revoked") == (not is_revoked)
    assert (problem == "") == is_revoked
    assert ("revoked" in stack.keys("list", "--submitter", submitter)) == is_revoked


def test_a_token_that_grpc_cannot_send_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command does not advise to repeat it."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    monkeypatch.setenv("DROPZONE_FIRESTORE_TOKEN", "tökén")

    with pytest.raises(SystemExit, match="error: DROPZONE_FIRESTORE_TOKEN must have printable ASCII characters only"):
        keys.main(["list"])


def test_an_unreachable_firestore_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the address, and does not advise to repeat the command."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.1)

    with pytest.raises(SystemExit, match=rf"^error: cannot connect to Firestore at {address} within 0.1 s; check that"):
        keys.main(["list"])


def test_a_firestore_that_refuses_the_command_is_an_error(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback is printed."""
    for name, value in stack.firestore_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a/b")

    with pytest.raises(SystemExit, match=r"^error: Firestore returned INVALID_ARGUMENT: "):
        keys.main(["list"])


def ensure(stack: Stack, file: Path) -> tuple[str, str]:
    """Run `keys ensure`; return the key in the file and the output."""
    output = stack.keys("ensure", "--file", str(file), "--submitter", "ensured", "--scopes", "submit,read")
    return file.read_text().strip(), output


def is_accepted(stack: Stack, key: str) -> bool:
    """Return whether the API accepts a key."""
    return stack.post_graphql("{ __typename }", key=key).status_code == 200


@pytest.mark.parametrize("damage", [b"", b"\n", b"dz_", b"\xff\xfe", bytes(60)])
def test_a_damaged_key_file_gets_a_new_key(stack: Stack, tmp_path: Path, damage: bytes) -> None:
    """A crash can leave an empty file, which stayed refused forever."""
    file = tmp_path / "api-key"
    file.write_bytes(damage)

    key, output = ensure(stack, file)

    assert is_accepted(stack, key)
    assert output == f"{file} does not contain an API key; writing a new key to this file\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert ensure(stack, file) == (key, "")


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda document: document.delete(), id="deleted"),
        pytest.param(lambda document: document.set({"submitter": 1}), id="damaged"),
    ],
)
def test_a_key_that_firestore_has_lost_is_stored_again(
    stack: Stack, tmp_path: Path, lose: Callable[..., object]
) -> None:
    """The file keeps its key. A crash between writing the file and storing the key looks the same."""
    file = tmp_path / "api-key"
    key, _ = ensure(stack, file)
    lose(stack.firestore().collection("api_keys").document(digest(key)))

    again, output = ensure(stack, file)

    assert (again, output) == (key, "")
    assert is_accepted(stack, key)


def test_a_revoked_key_stays_revoked_and_the_file_gets_a_new_one(stack: Stack, tmp_path: Path) -> None:
    """The key may have been revoked because others know it."""
    file = tmp_path / "api-key"
    revoked, _ = ensure(stack, file)
    stack.keys("revoke", "--digest", digest(revoked), "--yes")

    key, output = ensure(stack, file)

    assert output == f"{file} contains a revoked or expired API key; writing a new key to this file\n"
    assert is_accepted(stack, key)
    assert not is_accepted(stack, revoked)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can limit the files of a process")
def test_a_stored_key_is_enough_while_firestore_refuses_writes(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack did not start on a full disk, on which it serves reads, because the sign-in link needs a write."""
    file = tmp_path / "api-key"
    ensure(stack, file)
    monkeypatch.setattr(
        keys, "GroupCommitWriter", lambda firestore, **_: GroupCommitWriter(firestore, timeout_seconds=0.5)
    )
    stack.environment["SIGN_IN_TOKEN"] = "t" * 43
    stack.refuse_firestore_writes()
    try:
        _, output = ensure(stack, file)
    finally:
        stack.accept_firestore_writes()
        del stack.environment["SIGN_IN_TOKEN"]

    assert output.startswith("the sign-in link does not work, because its token could not be stored: ")


def test_the_file_is_synchronized_before_its_name(tmp_path: Path) -> None:
    """After a power failure, the name never refers to an empty file."""
    script = (
        "import os, sys; from pathlib import Path; from graphql_api.auth import key_file; calls = []\n"
        "fsync = os.fsync\n"
        "os.fsync = lambda fd: (calls.append('fsync'), fsync(fd))[1]\n"
        "sys.addaudithook(lambda event, _: calls.append('rename') if event == 'os.rename' else None)\n"
        "key_file.write(Path(sys.argv[1]), 'key'); print(*calls)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "k")], check=True, capture_output=True, text=True
    )

    assert done.stdout == "fsync rename fsync\n"


def test_a_key_file_replaces_only_itself(tmp_path: Path) -> None:
    """The file that is written first was `site.new` for `site.key`, and replaced a file with this name."""
    (tmp_path / "site.new").write_text("another file")

    key_file.write(tmp_path / "site.key", "key")

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "site.key": "key\n",
        "site.new": "another file",
    }


def test_a_key_that_is_not_valid_has_no_sign_in_link(stack: Stack, tmp_path: Path) -> None:
    """The command printed a link, and the page said that this link had been used or had expired."""
    file = tmp_path / "api-key"
    file.write_text(revoked := stack.new_key("signs-in", "read"))
    stack.keys("revoke", "--digest", digest(revoked), "--yes")

    with pytest.raises(SystemExit, match=r"contains an unknown, revoked or expired API key, whose links do not work$"):
        stack.keys("sign-in-link", "--file", str(file))

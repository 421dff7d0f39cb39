"""Manage API keys.

`create` prints the new key once. Firestore stores only the SHA-256 of the key, its digest. `revoke` lists the selected
keys and asks for confirmation.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from graphql_api.auth import key_file
from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.audit_entry import AuditEntry
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.key_arguments import LIMITS, parser
from graphql_api.auth.key_manager import KeyManager
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from graphql_api.auth.sessions import SessionStore
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.configuration.limits import KeyLimits
from runtime import interruption, standard_streams
from storage.documents import BadRequest, DropzoneError, NotFound, Unavailable, timestamps
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

_TIMEOUT_SECONDS = 10.0

_TOKEN_VARIABLE = "SIGN_IN_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with the token of the sign-in link that the stack prints. `ensure` stores the token."""


def main(arguments: Sequence[str] | None = None, name: str = "python -m graphql_api.auth.keys") -> None:
    """Run one command. Exits with status 1 and prints an error message if the command fails.

    `name` is the name of the command in its help.
    """
    options = parser(name, __doc__).parse_args(arguments)
    try:
        with interruption.ends_command():
            asyncio.run(_run(options))
    except (DropzoneError, FirestoreError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


async def _run(options: argparse.Namespace) -> None:
    firestore = Firestore.connect(timeout_seconds=_TIMEOUT_SECONDS)
    writer = GroupCommitWriter(firestore, timeout_seconds=_TIMEOUT_SECONDS)
    audit_log = AuditLog(firestore, writer, LoopTurns())
    store = KeyStore(firestore, writer, audit_log, LoopTurns())
    manager = KeyManager(store, audit_log)
    sessions = SessionStore(firestore, writer, store, audit_log)
    try:
        await firestore.wait_for_connection()
        match options.command:
            case "create":
                await _create(manager, options)
            case "ensure":
                await _ensure(store, manager, sessions, options)
            case "list":
                await _list(manager, options)
            case "limits":
                await _set_limits(manager, options)
            case "rotate":
                await _rotate(manager, options)
            case "revoke":
                await _revoke(manager, options)
            case "audit":
                await _print_audit_log(audit_log, options)
            case "sign-in-link":
                await _print_sign_in_link(store, sessions, options)
    finally:
        await writer.close()
        await firestore.close()


async def _create(manager: KeyManager, options: argparse.Namespace) -> None:
    key = new_key()
    limits = KeyLimits(name=digest(key)[:SHOWN_DIGITS], **_limits(options))
    await manager.store(key, replace(_api_key(options), limits=limits if limits.values else None))
    _print_key(key)


def _print_key(key: str) -> None:
    """Print a new key. Raises `OSError` that names the key if it cannot be printed: it is valid, but unknown."""
    try:
        print(key, flush=True)
    except OSError as error:
        standard_streams.discard_output()
        reason = error.strerror
        raise OSError(f"cannot print the new key {digest(key)[:SHOWN_DIGITS]}: {reason}; revoke it") from error


async def _list(manager: KeyManager, options: argparse.Namespace) -> None:
    for key_digest, api_key in await manager.select(submitter=options.submitter):
        print(_json_line(key_digest, api_key) if options.json else _line(key_digest, api_key))


async def _set_limits(manager: KeyManager, options: argparse.Namespace) -> None:
    selected = await manager.select_one(options.digest)
    for key_digest, api_key in await manager.set_limits(selected, _limits(options)):
        print(_line(key_digest, api_key))


async def _rotate(manager: KeyManager, options: argparse.Namespace) -> None:
    selected = await manager.select_one(options.digest)
    _print_key((await manager.rotate(selected, timedelta(days=options.overlap_days)))[0])


async def _print_audit_log(audit_log: AuditLog, options: argparse.Namespace) -> None:
    for entry in await audit_log.read(options.submitter, options.first):
        print(_audit_line(entry))


async def _ensure(store: KeyStore, manager: KeyManager, sessions: SessionStore, options: argparse.Namespace) -> None:
    """Make sure that the file holds a valid key, and that Firestore has stored the key.

    If the environment contains the token of a sign-in link, store the token too.

    The file is written first. After a crash between these steps, the next run stores the key. A revoked or expired key
    does not become valid again: the file gets a new key.
    """
    file: Path = options.file
    key = key_file.read(file)
    stored = None if key is None else await _read_or_none(store, digest(key))
    if key is None or (stored is not None and not stored.is_valid_at(datetime.now(UTC))):
        if file.exists():
            problem = "does not contain an API key" if key is None else "contains a revoked or expired API key"
            print(f"{file} {problem}; writing a new key to this file")
        key, stored = new_key(), None
        key_file.write(file, key)
    if stored is None:
        await manager.store(key, _api_key(options))
    if token := os.environ.get(_TOKEN_VARIABLE):
        try:
            await sessions.add_token(token, digest(key))
        except Unavailable as error:  # for example on a full disk, on which the stack still serves reads
            print(f"the sign-in link does not work, because its token could not be stored: {error}")


async def _print_sign_in_link(store: KeyStore, sessions: SessionStore, options: argparse.Namespace) -> None:
    key = key_file.read(options.file)
    if key is None:
        raise NotFound(f"{options.file} does not contain an API key")
    stored = await store.read(digest(key))
    if stored is None or not stored.is_valid_at(datetime.now(UTC)):
        raise NotFound(f"{options.file} contains an unknown, revoked or expired API key, whose links do not work")
    token = secrets.token_urlsafe()
    await sessions.add_token(token, digest(key))
    print(f"{options.url.rstrip('/')}/#sign-in={token}")


async def _read_or_none(store: KeyStore, key_digest: str) -> ApiKey | None:
    """Return the stored document of a key, or None if it does not exist or is damaged."""
    try:
        return await store.read(key_digest)
    except (KeyError, TypeError, ValueError):
        return None


async def _revoke(manager: KeyManager, options: argparse.Namespace) -> None:
    if options.digest is None and options.submitter is None:
        raise BadRequest("expected --digest or --submitter, got neither")
    selected = await manager.select(submitter=options.submitter, label=options.label, digest_prefix=options.digest)
    if not selected:
        raise NotFound("no API key matches the given options; run `list` to see the digests, submitters and labels")
    if options.digest is not None and len(selected) > 1:
        raise BadRequest(f"--digest {options.digest} is the prefix of {len(selected)} digests; use more digits")
    valid = [(key_digest, api_key) for key_digest, api_key in selected if api_key.revoked is None]
    if valid and not options.yes:
        _confirm(valid)
    for key_digest, api_key in valid:
        await manager.revoke((key_digest, api_key))
    for key_digest, api_key in selected:
        print(f"revoked {key_digest[:SHOWN_DIGITS]} of {api_key.submitter}")


def _confirm(selected: Sequence[tuple[str, ApiKey]]) -> None:
    """List the selected keys and ask for confirmation. Raises `BadRequest` if the user does not confirm."""
    for key_digest, api_key in selected:
        print(_line(key_digest, api_key), file=sys.stderr)
    if not sys.stdin.isatty():
        raise BadRequest("no key was revoked: confirm with --yes, because standard input is not a terminal")
    keys = "this key" if len(selected) == 1 else f"these {len(selected)} keys"
    print(f"Revoke {keys}? Requests with them will fail. [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise BadRequest("no key was revoked")


def _line(key_digest: str, key: ApiKey) -> str:
    expires = "never expires" if key.expires is None else f"expires {timestamps.to_text(key.expires)}"
    end = expires if key.revoked is None else f"revoked {timestamps.to_text(key.revoked)}"
    scopes = ",".join(sorted(key.scopes))
    created = timestamps.to_text(key.created)
    limits = "" if key.limits is None else f"  {key.limits.description}"
    return f"{key_digest[:SHOWN_DIGITS]}  {key.submitter}  {scopes}  {key.label}  created {created}  {end}{limits}"


def _json_line(key_digest: str, key: ApiKey) -> str:
    times = {"created": key.created, "expires": key.expires, "revoked": key.revoked, "last_used": key.last_used}
    texts = {name: None if time is None else timestamps.to_text(time) for name, time in times.items()}
    values = {"digest": key_digest, "submitter": key.submitter, "scopes": sorted(key.scopes), "label": key.label}
    limits = None if key.limits is None else key.limits.values
    return json.dumps(values | texts | {"limits": limits}, ensure_ascii=False)


def _audit_line(entry: AuditEntry) -> str:
    values = {"id": entry.id, "at": timestamps.to_text(entry.at), "actor": entry.actor, "action": entry.action}
    return json.dumps(values | {"details": entry.details} | entry.facts.fields(), ensure_ascii=False)


def _api_key(options: argparse.Namespace) -> ApiKey:
    now = datetime.now(UTC)
    days = options.expires_in_days
    return ApiKey(
        submitter=options.submitter,
        scopes=options.scopes,
        label=options.label,
        created=now,
        expires=None if days is None else now + timedelta(days=days),
    )


def _limits(options: argparse.Namespace) -> dict[str, int]:
    return {name: value for name in LIMITS if (value := getattr(options, name)) is not None}


if __name__ == "__main__":
    main()

"""Manage API keys: `python -m graphql_api.auth.keys create|ensure|list|limits|rotate|revoke|audit|sign-in-link`.

`create` prints the new key once. Firestore stores only the SHA-256 of the key, its digest. `revoke` lists the selected
keys and asks for confirmation.
"""

import argparse
import asyncio
import json
import math
import os
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.auth.exceptions import DefaultCredentialsError

from graphql_api.auth import key_file
from graphql_api.auth.api_keys import ApiKey, new_key
from graphql_api.auth.audit_entry import AuditEntry
from graphql_api.auth.audit_log import AuditLog
from graphql_api.auth.key_manager import MIN_DIGITS, KeyManager
from graphql_api.auth.key_store import KeyStore
from graphql_api.auth.scopes import Scope
from graphql_api.auth.secret_text import SHOWN_DIGITS, digest
from graphql_api.auth.sessions import SessionStore
from graphql_api.budgets.loop_turns import LoopTurns
from graphql_api.limits import KeyLimits
from storage.documents import BadRequest, DropzoneError, NotFound, document_paths, timestamps
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import GroupCommitWriter

_TIMEOUT_SECONDS = 10.0
_MAX_DAYS = 36_500
_MAX_COUNT = 10**9

_LIMITS = {
    "requests_per_second": "requests per second and API process",
    "samples_per_second": "samples per second and API process",
    "sample_mib_per_second": "size of samples in MiB per second and API process",
    "samples_per_day": "samples per UTC day",
    "sample_mib_per_day": "size of samples in MiB per UTC day",
}
"""The limits that a key can have, with their descriptions."""

_TOKEN_VARIABLE = "SIGN_IN_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with the token of the sign-in link that the stack prints. `ensure` stores the token."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Exits with status 1 and prints an error message if the command fails."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except (DropzoneError, DefaultCredentialsError, OSError) as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m graphql_api.auth.keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="create a key and print it")
    ensure = commands.add_parser(
        "ensure", help="create a key and write it to a file, unless the file already contains a valid key"
    )
    ensure.add_argument("--file", type=Path, required=True, help="the file; only its owner can read it")
    for command in (create, ensure):
        command.add_argument("--submitter", type=_submitter, required=True, help="the submitter that owns the key")
        command.add_argument(
            "--scopes",
            type=_scopes,
            default="submit,read",
            help=f"comma-separated scopes: {', '.join(Scope)}; default: %(default)s",
        )
        command.add_argument("--label", default="", help="a text by which you recognize the key in `list`")
        command.add_argument("--expires-in-days", type=_days, help="the lifetime of the key; default: unlimited")
    limits = commands.add_parser(
        "limits", help="replace the limits of a key and of all keys that share its limits, and print these keys"
    )
    for command in (create, limits):
        for name, meaning in _LIMITS.items():
            command.add_argument(
                f"--{name.replace('_', '-')}",
                type=_count,
                help=f"maximum {meaning}; default: the limit of the submitter",
            )
    listing = commands.add_parser("list", help="list all keys")
    listing.add_argument("--submitter", type=_submitter, help="list only keys of this submitter")
    listing.add_argument("--json", action="store_true", help="print one JSON object per line")
    rotate = commands.add_parser("rotate", help="replace a key with a new key, and print the new key")
    for command in (limits, rotate):
        command.add_argument(
            "--digest", type=_digest_prefix, required=True, help="the digest of the key, or its first digits"
        )
    rotate.add_argument("--overlap-days", type=_days, default=7.0, help="how long both keys work; default: %(default)g")
    revoke = commands.add_parser("revoke", help="revoke keys")
    revoke.add_argument(
        "--digest",
        type=_digest_prefix,
        help="revoke the key with this digest, or with a digest that starts with these digits",
    )
    revoke.add_argument("--submitter", type=_submitter, help="revoke keys of this submitter")
    revoke.add_argument("--label", help="revoke only keys with this label")
    revoke.add_argument("--yes", action="store_true", help="revoke without asking for confirmation")
    audit = commands.add_parser("audit", help="print the newest entries of an audit log, one JSON object per line")
    audit.add_argument("--submitter", type=_submitter, help="the submitter; default: the log of the operator")
    audit.add_argument("--first", type=_count, default=100, help="number of entries, up to 500; default: %(default)s")
    link = commands.add_parser("sign-in-link", help="print a sign-in link that works once, within a day")
    link.add_argument(
        "--file", type=Path, required=True, help="a file that contains an API key with at least the scope read"
    )
    link.add_argument("--url", default="http://127.0.0.1:8000", help="the URL of the dashboard; default: %(default)s")
    return parser


async def _run(options: argparse.Namespace) -> None:
    firestore = Firestore.connect(timeout_seconds=_TIMEOUT_SECONDS)
    writer = GroupCommitWriter(firestore, timeout_seconds=_TIMEOUT_SECONDS)
    audit_log = AuditLog(firestore, writer, LoopTurns())
    store = KeyStore(firestore, writer, audit_log, LoopTurns())
    manager = KeyManager(store, audit_log)
    try:
        match options.command:
            case "create":
                key = new_key()
                limits = KeyLimits(name=digest(key)[:SHOWN_DIGITS], **_limits(options))
                await manager.store(key, replace(_api_key(options), limits=limits if limits.values else None))
                print(key)
            case "ensure":
                key = await _ensure(store, manager, options)
                if token := os.environ.get(_TOKEN_VARIABLE):
                    await SessionStore(firestore, writer, store, audit_log).add_token(token, digest(key))
            case "list":
                for key_digest, api_key in await manager.select(submitter=options.submitter):
                    print(_json_line(key_digest, api_key) if options.json else _line(key_digest, api_key))
            case "limits":
                selected = await manager.select_one(options.digest)
                for key_digest, api_key in await manager.set_limits(selected, _limits(options)):
                    print(_line(key_digest, api_key))
            case "rotate":
                selected = await manager.select_one(options.digest)
                print((await manager.rotate(selected, timedelta(days=options.overlap_days)))[0])
            case "revoke":
                await _revoke(manager, options)
            case "audit":
                for entry in await audit_log.read(options.submitter, options.first):
                    print(_audit_line(entry))
            case "sign-in-link":
                print(await _sign_in_link(SessionStore(firestore, writer, store, audit_log), options))
    finally:
        await writer.close()
        await firestore.close()


async def _ensure(store: KeyStore, manager: KeyManager, options: argparse.Namespace) -> str:
    """Make sure that the file holds a valid key, and that Firestore has stored the key. Return the key.

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
    return key


async def _sign_in_link(sessions: SessionStore, options: argparse.Namespace) -> str:
    key = key_file.read(options.file)
    if key is None:
        raise NotFound(f"{options.file} does not contain an API key")
    token = secrets.token_urlsafe()
    await sessions.add_token(token, digest(key))
    return f"{options.url.rstrip('/')}/#sign-in={token}"


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
        raise BadRequest(f"--digest {options.digest} is the prefix of {len(selected)} digests; give a longer prefix")
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
    return {name: value for name in _LIMITS if (value := getattr(options, name)) is not None}


def _submitter(text: str) -> str:
    if not document_paths.is_submitter(text):
        raise argparse.ArgumentTypeError(f"expected 1 to 100 letters, digits, _, ., @, | and -, got {text!r}")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_COUNT:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MAX_COUNT:,}, got {text!r}")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"expected a number of days from 0 to {_MAX_DAYS:,}, got {text!r}")
    return days


def _digest_prefix(text: str) -> str:
    if re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},64}}", text) is None:
        message = f"expected {MIN_DIGITS} to 64 hexadecimal digits from the start of a digest, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(scope.strip()) for scope in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected one or more of {', '.join(Scope)}, got {text!r}") from None


if __name__ == "__main__":
    main()

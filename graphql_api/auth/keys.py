"""API keys on the command line: `python -m graphql_api.auth.keys create|ensure|list|revoke`.

A key is shown once, when it is made; only its SHA-256 is stored.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.auth.exceptions import DefaultCredentialsError

from graphql_api.auth.authentication import ApiKey, Scope, digest, new_key
from graphql_api.auth.key_store import KeyStore
from storage.documents import BadRequest, DropzoneError, NotFound, document_paths, timestamps
from storage.firestore.client import Firestore
from storage.firestore.group_commit_writer import Writer

_TIMEOUT_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit with 1 and a sentence where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m graphql_api.auth.keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and print it")
    ensure = commands.add_parser("ensure", help="make a key unless the file holds one, and keep it in the file")
    ensure.add_argument("--file", type=Path, required=True, help="readable by its owner alone")
    for command in (create, ensure):
        command.add_argument("--submitter", type=_submitter, required=True, help="whose samples the key is for")
        command.add_argument("--scopes", type=_scopes, default="submit,read", help=f"of {', '.join(Scope)}, by commas")
        command.add_argument("--label", default="", help="what the key is for, to tell it from others")
        command.add_argument("--expires-in-days", type=float, help="the key never expires without this")
    listing = commands.add_parser("list", help="show the keys that there are, by their digests")
    listing.add_argument("--submitter", type=_submitter, help="only the keys of this one")
    revoke = commands.add_parser("revoke", help="end keys")
    revoke.add_argument("--digest", help="the SHA-256 of the key, or its beginning, as `list` shows it")
    revoke.add_argument("--submitter", type=_submitter, help="whose keys")
    revoke.add_argument("--label", help="those with this label")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except (DropzoneError, DefaultCredentialsError, OSError) as error:
        sys.exit(f"error: {error}")


async def _run(options: argparse.Namespace) -> None:
    firestore = Firestore.connect(timeout_seconds=_TIMEOUT_SECONDS)
    writer = Writer(firestore, timeout_seconds=_TIMEOUT_SECONDS, waiting_bytes=2**20)
    store = KeyStore(firestore, writer)
    try:
        match options.command:
            case "create":
                key = new_key()
                await store.write(digest(key), _api_key(options))
                print(key)
            case "ensure":
                await _ensure(store, options)
            case "list":
                for name, stored in await _chosen(store, submitter=options.submitter):
                    print(_line(name, stored))
            case "revoke":
                await _revoke(store, options)
    finally:
        await writer.close()
        await firestore.close()


async def _ensure(store: KeyStore, options: argparse.Namespace) -> None:
    """Make the file before the key is stored: a crash between the two is mended by the next start."""
    file: Path = options.file
    if not file.exists():
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(new_key() + "\n")
        new.rename(file)
    name = digest(file.read_text().strip())
    if await store.read(name) is None:
        await store.write(name, _api_key(options))


async def _revoke(store: KeyStore, options: argparse.Namespace) -> None:
    if options.digest is None and options.submitter is None:
        raise BadRequest("say which keys: --digest, or --submitter and perhaps --label")
    chosen = await _chosen(store, submitter=options.submitter, label=options.label, digest=options.digest)
    if not chosen:
        raise NotFound("there is no such key")
    for name, key in chosen:
        await store.write(name, replace(key, revoked=key.revoked or datetime.now(UTC)).fields())
        print(f"revoked {name[:12]} of {key.submitter}")


async def _chosen(
    store: KeyStore, *, submitter: str | None = None, label: str | None = None, digest: str | None = None
) -> list[tuple[str, ApiKey]]:
    keys = {name: ApiKey.from_fields(stored) for name, stored in (await store.read_all()).items()}
    return [
        (name, key)
        for name, key in keys.items()
        if submitter in (None, key.submitter) and label in (None, key.label) and name.startswith(digest or "")
    ]


def _line(name: str, key: ApiKey) -> str:
    expires = "never expires" if key.expires is None else f"expires {timestamps.to_text(key.expires)}"
    end = expires if key.revoked is None else f"revoked {timestamps.to_text(key.revoked)}"
    scopes = ",".join(sorted(key.scopes))
    return f"{name[:12]}  {key.submitter}  {scopes}  {key.label}  created {timestamps.to_text(key.created)}  {end}"


def _api_key(options: argparse.Namespace) -> dict[str, object]:
    now = datetime.now(UTC)
    days = options.expires_in_days
    return ApiKey(
        submitter=options.submitter,
        scopes=options.scopes,
        label=options.label,
        created=now,
        expires=None if days is None else now + timedelta(days=days),
    ).fields()


def _submitter(text: str) -> str:
    if not document_paths.is_submitter(text):
        raise argparse.ArgumentTypeError("expected 1 to 100 letters, digits, _, ., @ and -")
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(scope.strip()) for scope in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(Scope)}, by commas") from None


if __name__ == "__main__":
    main()

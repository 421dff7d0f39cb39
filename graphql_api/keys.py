"""API keys on the command line: `python -m graphql_api.keys create|ensure|revoke`.

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

from documents import DropzoneError, NotFound, names
from graphql_api.auth import ApiKey, Scope, digest, new_key
from graphql_api.firestore import Firestore
from graphql_api.store import Store
from graphql_api.writer import Writer

_TIMEOUT_SECONDS = 10.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit with 1 and a sentence where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m graphql_api.keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and print it")
    ensure = commands.add_parser("ensure", help="make a key unless the file holds one, and keep it in the file")
    ensure.add_argument("--file", type=Path, required=True, help="readable by its owner alone")
    for command in (create, ensure):
        command.add_argument("--submitter", type=_submitter, required=True, help="whose samples the key is for")
        command.add_argument("--scopes", type=_scopes, default="submit,read", help="of submit and read, by commas")
        command.add_argument("--label", default="", help="what the key is for, to tell it from others")
        command.add_argument("--expires-in-days", type=float, help="the key never expires without this")
    revoke = commands.add_parser("revoke", help="end a key, given on standard input")
    del revoke
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except (DropzoneError, OSError) as error:
        sys.exit(f"error: {error}")


async def _run(options: argparse.Namespace) -> None:
    firestore = Firestore.connect(timeout_seconds=_TIMEOUT_SECONDS)
    writer = Writer(firestore, timeout_seconds=_TIMEOUT_SECONDS, waiting_bytes=2**20)
    store = Store(firestore, writer)
    try:
        match options.command:
            case "create":
                key = new_key()
                await store.put_api_key(digest(key), _api_key(options))
                print(key)
            case "ensure":
                await _ensure(store, options)
            case "revoke":
                await _revoke(store, digest(sys.stdin.readline().strip()))
    finally:
        await writer.close()
        await firestore.close()


async def _ensure(store: Store, options: argparse.Namespace) -> None:
    """Make the file before the key is stored: a crash between the two is mended by the next start."""
    file: Path = options.file
    if not file.exists():
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(new_key() + "\n")
        new.rename(file)
    name = digest(file.read_text().strip())
    if await store.api_key(name) is None:
        await store.put_api_key(name, _api_key(options))


async def _revoke(store: Store, name: str) -> None:
    stored = await store.api_key(name)
    if stored is None:
        raise NotFound("there is no such key")
    revoked = replace(ApiKey.from_fields(stored), revoked=datetime.now(UTC))
    await store.put_api_key(name, revoked.fields())


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
    if not names.is_submitter(text):
        raise argparse.ArgumentTypeError("expected 1 to 100 letters, digits, _, ., @ and -")
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(scope.strip()) for scope in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(Scope)}, by commas") from None


if __name__ == "__main__":
    main()

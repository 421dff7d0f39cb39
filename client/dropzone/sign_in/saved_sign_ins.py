"""The saved sign-ins of `dropzone login`, one per server, in a file that only its owner can read."""

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from dropzone.sign_in import oauth
from dropzone.sign_in.oauth import SignIn
from dropzone.transport.addresses import parse_url

_NAME = "sign-ins.json"


def folder() -> Path:
    """Return the folder of the file, such as `~/.config/dropzone`."""
    return Path(typer.get_app_dir("dropzone"))


def read(url: str) -> SignIn | None:
    """Return the sign-in for a server, or None, also if another release has saved it with other fields."""
    try:
        return SignIn(**_read_all()[_address(url)])
    except (KeyError, TypeError):
        return None


def write(url: str, signed_in: SignIn | None) -> None:
    """Save the sign-in for a server, or remove it."""
    with _locked():
        _replace(url, signed_in)


async def current_token(url: str) -> str:
    """Return a valid access token for a server. Refresh an expired token; only one process does this at a time."""
    signed_in = read(url)
    if signed_in is not None and signed_in.is_current:
        return signed_in.access_token
    return await asyncio.to_thread(_refreshed, url)


def _refreshed(url: str) -> str:
    with _locked():
        signed_in = read(url)  # another process may have refreshed it
        if signed_in is None:
            raise oauth.SignInEnded("you are not signed in; run `dropzone login`")
        if not signed_in.is_current:
            signed_in = asyncio.run(oauth.refresh(signed_in))
            _replace(url, signed_in)
        return signed_in.access_token


def _read_all() -> dict[str, dict[str, Any]]:
    try:
        values = json.loads((folder() / _NAME).read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _replace(url: str, signed_in: SignIn | None) -> None:
    everything = _read_all()
    everything.pop(_address(url), None)
    if signed_in is not None:
        everything[_address(url)] = asdict(signed_in)
    new = folder() / f"{_NAME}.new"
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(everything, file)
    new.replace(folder() / _NAME)


@contextmanager
def _locked() -> Iterator[None]:
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(folder() / f"{_NAME}.lock", os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _address(url: str) -> str:
    return str(parse_url(url)).rstrip("/")

"""The stack that `make run` starts on this machine: its checkout, and the API key that the stack creates."""

import os
from collections.abc import Iterator
from pathlib import Path

import dropzone

_DATA_DIR = ".dropzone"
_KEY_FILE = "api-key"


def checkout() -> Path | None:
    """Return the checkout that contains this client, or the current folder if it is a checkout, or None."""
    for folder in (Path(dropzone.__file__).parents[2], *_current_folders()[:1]):
        if (folder / "infra/embedded/stack.toml").is_file():
            return folder
    return None


def read_key() -> str | None:
    """Return the API key of the local stack, or None if no key file can be read."""
    for file in _key_files():
        try:
            return file.read_text().strip()
        except (OSError, UnicodeDecodeError):
            continue
    return None


def _key_files() -> Iterator[Path]:
    if data_dir := os.environ.get("DROPZONE_DATA_DIR"):
        yield Path(data_dir) / _KEY_FILE
    for folder in _current_folders():
        yield folder / _DATA_DIR / _KEY_FILE
    if (root := checkout()) is not None:
        yield root / _DATA_DIR / _KEY_FILE


def _current_folders() -> tuple[Path, ...]:
    """Return the current folder and its parents, or nothing if the current folder was deleted."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        return ()
    return folder, *folder.parents

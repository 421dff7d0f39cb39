"""The file that holds the API key of a stack. It is replaced atomically, so a crash never leaves a part of a key."""

import os
from pathlib import Path

from graphql_api.auth.api_keys import is_key


def read(file: Path) -> str | None:
    """Return the key in `file`, or None if the file does not exist or its content does not have the form of a key."""
    try:
        key = file.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return key if is_key(key) else None


def write(file: Path, key: str) -> None:
    """Replace the content of `file`, which only its owner can read. Return when content and name are on the disk."""
    new_file = file.with_name(f"{file.name}.new")
    new_file.unlink(missing_ok=True)  # left by a crash
    with os.fdopen(os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(key + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    new_file.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

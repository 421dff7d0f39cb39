"""The arguments of the command that manages API keys (`keys.py`)."""

import argparse
import math
import os
import re
from datetime import timedelta
from functools import partial
from pathlib import Path

from graphql_api.auth.api_keys import MAX_LABEL_CHARACTERS, is_label
from graphql_api.auth.audit_log import MAX_ENTRIES
from graphql_api.auth.key_manager import MAX_DIGITS, MIN_DIGITS, is_digest_prefix
from graphql_api.configuration.limits import MAX_LIMIT
from graphql_api.configuration.settings import Settings
from graphql_api.scopes import Scope
from runtime.environment_variables import number
from storage.documents import document_paths

_MAX_DAYS = 36_500
_COUNT = re.compile(r"[0-9]{1,10}")

LIMITS = {
    "requests_per_second": "requests per second in each API process",
    "samples_per_second": "samples per second in each API process",
    "sample_mib_per_second": "size of the samples per second in each API process, in MiB",
    "samples_per_day": "samples per UTC day in all API processes together",
    "sample_mib_per_day": "size of the samples per UTC day in all API processes together, in MiB",
}
"""The limits that a key can have, with their descriptions."""


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command `name`. The option `command` is the name of the subcommand."""
    root = argparse.ArgumentParser(prog=name, description=description)
    commands = root.add_subparsers(dest="command", required=True)
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
        command.add_argument(
            "--label", type=_label, default="", help="a human-readable name of the key, which `list` shows"
        )
        command.add_argument("--expires-in-days", type=_lifetime, help="the lifetime of the key; default: unlimited")
    limits = commands.add_parser(
        "limits", help="replace the limits of a key and of all keys that share its limits, and print these keys"
    )
    for command in (create, limits):
        for name, meaning in LIMITS.items():
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
    audit.add_argument(
        "--first",
        type=partial(_count, maximum=MAX_ENTRIES),
        default=100,
        help=f"number of entries, up to {MAX_ENTRIES}; default: %(default)s",
    )
    link = commands.add_parser("sign-in-link", help="print a sign-in link that works once, within a day")
    link.add_argument(
        "--file", type=Path, required=True, help="a file that contains an API key with at least the scope read"
    )
    link.add_argument("--url", default=_dashboard_url(), help="the URL of the dashboard; default: %(default)s")
    return root


def _dashboard_url() -> str:
    """Return the public URL of the environment, or the address of the API on this machine.

    These are the settings of the API. This command reads no others, so it works even if another setting is invalid.
    """
    scheme = "https" if os.environ.get("DROPZONE_TLS_CERTIFICATE_FILE") else "http"
    local = f"{scheme}://127.0.0.1:{os.environ.get('DROPZONE_API_PORT') or Settings.api_port}"
    return os.environ.get("DROPZONE_PUBLIC_URL") or local


def _submitter(text: str) -> str:
    if not document_paths.is_submitter(text):
        raise argparse.ArgumentTypeError(f"expected 1 to 100 letters, digits, _, ., @, | and -, got {text!r}")
    return text


def _label(text: str) -> str:
    if not is_label(text):
        raise argparse.ArgumentTypeError(f"expected up to {MAX_LABEL_CHARACTERS} printable characters, got {text!r}")
    return text


def _count(text: str, maximum: int = MAX_LIMIT) -> int:
    if not _COUNT.fullmatch(text) or not 1 <= int(text) <= maximum:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {maximum:,}, got {text!r}")
    return int(text)


def _days(text: str) -> float:
    try:
        days = number(text, float)
    except ValueError:
        days = math.nan
    if not 0 <= days <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"expected a number of days from 0 to {_MAX_DAYS:,}, got {text!r}")
    return days


def _lifetime(text: str) -> float:
    days = _days(text)
    if not timedelta(days=days):  # less than a microsecond becomes 0
        raise argparse.ArgumentTypeError("expected more than 0 days, because an expired key does not work")
    return days


def _digest_prefix(text: str) -> str:
    if not is_digest_prefix(text):
        expected = f"expected {MIN_DIGITS} to {MAX_DIGITS} hexadecimal digits from the start of a digest"
        raise argparse.ArgumentTypeError(f"{expected}, got {text!r}")
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(scope.strip()) for scope in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected one or more of {', '.join(Scope)}, got {text!r}") from None

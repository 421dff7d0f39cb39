"""The options that several commands have: `--url`, `--key`, `--submitter`, `--label`, `--limit` and `--all`.

Without `--key`, the command uses the saved sign-in for the server, if there is one. Otherwise it uses the key of the
stack that `make run` started, which it sends to loopback addresses only.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, TypeVar

import typer

from dropzone import AsyncClient, DropzoneError, Unauthenticated
from dropzone.command import local_stack
from dropzone.command.exit_codes import print_error
from dropzone.sign_in import saved_sign_ins
from dropzone.transport.addresses import is_loopback, parse_url, proxy_of

T = TypeVar("T")

Url = Annotated[str, typer.Option("--url", envvar="DROPZONE_URL", help="URL of the server.", show_default=True)]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="DROPZONE_KEY",
        help="API key. Default: the sign-in of `dropzone login`, or for a local server, the key of `make run`.",
        show_default=False,
    ),
]


def not_empty(text: str | None) -> str | None:
    """Return an argument. Raises `typer.BadParameter` if it is empty, for example because a shell variable is not set.

    Without it, a command would do something else: `submit ""` would submit the current folder.
    """
    if text is not None and not text.strip():
        raise typer.BadParameter("expected a value, got an empty text")
    return text


Submitter = Annotated[
    str | None,
    typer.Option(
        "--submitter",
        metavar="NAME",
        callback=not_empty,
        help="Read the data of this submitter. The key needs the scope `read-all`. Default: the submitter of the key.",
        show_default=False,
    ),
]

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=VALUE",
        help="Label such as site=zurich. Repeat the option for several labels.",
        show_default=False,
    ),
]

DEFAULT_LIMIT = 50
MaxItems = Annotated[
    int | None,
    typer.Option(
        "--limit", "-n", min=0, help=f"How many to print at most. Default: {DEFAULT_LIMIT}.", show_default=False
    ),
]
IsUnlimited = Annotated[bool, typer.Option("--all", help="Print all, without a limit.")]


class Limit:
    """How many items a command prints at most. If the default leaves out items, `note` says so.

    Raises `typer.BadParameter` for `--all` with `--limit`.
    """

    def __init__(self, given: int | None, *, is_unlimited: bool) -> None:
        if is_unlimited and given is not None:
            raise typer.BadParameter("cannot be combined with --limit", param_hint="--all")
        self._is_default = given is None and not is_unlimited
        self._has_left_out = False
        self.requested = DEFAULT_LIMIT + 1 if self._is_default else given
        """How many items to request, or None for all. With the default, one more shows whether items are left out."""

    async def first(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the items to print."""
        count = 0
        async for item in items:
            count += 1
            if self._is_default and count > DEFAULT_LIMIT:
                self._has_left_out = True
                return
            yield item

    def note(self, items: str) -> None:
        """Say on standard error that the default has left out items."""
        if self._has_left_out:
            typer.echo(f"note: only the first {DEFAULT_LIMIT} {items} are printed; for all, use --all", err=True)


def connect(url: str, key: str, submitter: str | None = None) -> AsyncClient:
    """Return a client. Exits if the key is missing or the URL is invalid."""
    check_url(url)
    key = key.strip()
    if not key and saved_sign_ins.read(url) is not None:
        token = partial(saved_sign_ins.current_token, url)
        return AsyncClient(url, token=token, submitter=submitter)
    return AsyncClient(url, _find_key(url, key), submitter=submitter)


def check_url(url: str) -> None:
    """Raise `typer.BadParameter` if the URL of a server is not valid, or the proxy on the way to it."""
    for check, source in ((parse_url, "--url"), (proxy_of, "HTTPS_PROXY or HTTP_PROXY")):
        try:
            check(url)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=source) from error


@asynccontextmanager
async def opened(client: AsyncClient) -> AsyncIterator[None]:
    """Close the client at the end. Raises an error at once, without retries, if the server cannot be reached."""
    async with client:
        await client.ping()
        yield


async def note_unknown_labels(client: AsyncClient, labels: Mapping[str, str]) -> None:
    """Say on standard error which labels no result has, because a label can be mistyped."""
    try:
        unknown = [(name, value) for name, value in labels.items() if value not in await client.label_values(name)]
    except DropzoneError:  # for example, the server does not list the labels of too many series
        return
    for name, value in unknown:
        typer.echo(f"note: no result has the label {name}={value}", err=True)


def parse_labels(options: Iterable[str] | None) -> dict[str, str]:
    """Return the labels for options such as `site=zurich`. Raises `typer.BadParameter` if one is invalid."""
    labels: dict[str, str] = {}
    for option in options or ():
        name, equals, value = option.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"expected NAME=VALUE, got {option}", param_hint="--label")
        if labels.setdefault(name, value) != value:
            raise typer.BadParameter(f"the label {name} appears twice; use each label once", param_hint="--label")
    return labels


def _find_key(url: str, key: str) -> str:
    parsed = parse_url(url)
    if not key and is_loopback(parsed.host or ""):
        key = local_stack.read_key() or ""
    if not key:
        shown = parsed.with_user(None)  # without a password
        raise typer.Exit(
            print_error(Unauthenticated(f"{shown} requires an API key, or a sign-in with `dropzone login`"))
        )
    return key

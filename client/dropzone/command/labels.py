"""The option `--label NAME=VALUE`."""

from collections.abc import Iterable
from typing import Annotated

import typer

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=VALUE",
        help="Label such as site=zurich. Repeat the option for several labels.",
        show_default=False,
    ),
]


def parse_labels(options: Iterable[str] | None) -> dict[str, str]:
    """Return the labels for options such as `site=zurich`. Raises `typer.BadParameter` if one is invalid."""
    labels: dict[str, str] = {}
    for option in options or ():
        name, equals, value = option.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter(f"expected NAME=VALUE, got {option}", param_hint="--label")
        if labels.setdefault(name, value) != value:
            raise typer.BadParameter(f"expected each name once, got {name} twice", param_hint="--label")
    return labels

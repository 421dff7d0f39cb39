"""A command that runs an endpoint of scheduled work once, such as `POST /audit`, and prints the report."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from typing import Protocol

from starlette.exceptions import HTTPException

from observability import logs
from runtime import interruption
from triggers.settings import Settings


class Endpoint(Protocol):
    """The endpoint that a scheduler calls."""

    async def run(self, _: bytes, /) -> dict[str, object]:
        """Return the report. Raises `HTTPException` if the work is not finished."""
        ...


def main(name: str, description: str | None, create_endpoint: Callable[[Settings], Endpoint]) -> None:
    """Run the endpoint once. Exits with 1 and a message if its work is not finished.

    `name` is the name of the command, and `description` is the text of `--help`.
    """
    argparse.ArgumentParser(prog=name, description=description).parse_args()
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        with interruption.ends_command():
            report = asyncio.run(create_endpoint(settings).run(b""))
            sys.stdout.write(json.dumps(report) + "\n")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except HTTPException as error:
        sys.exit(f"error: {error.detail}")

"""`python -m triggers.rollups`: does the same as `POST /rollups`, and prints the report.

It is for schedulers that run commands.
"""

import asyncio
import json
import sys

from starlette.exceptions import HTTPException

from observability import logs
from triggers.rollups.endpoint import RollupsEndpoint
from triggers.settings import Settings


def main() -> None:
    """Build rollups. Exits with 1 and a message if Firestore does not respond."""
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        rollups = RollupsEndpoint(shards=settings.shards)
        report = asyncio.run(rollups.run(b""))
    except ValueError as error:
        sys.exit(f"error: {error}")
    except HTTPException as error:
        sys.exit(f"error: {error.detail}")
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()

"""`python -m triggers.audit`: runs the audit once and prints its report. It is for schedulers that run commands."""

import asyncio
import json
import sys

from starlette.exceptions import HTTPException

from observability import logs
from triggers.audit.endpoint import AuditEndpoint
from triggers.settings import Settings


def main() -> None:
    """Run the audit. Exits with 1 and a message if it is not finished."""
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        audit = AuditEndpoint(shards=settings.shards, delay_seconds=settings.audit_delay_seconds)
        report = asyncio.run(audit.run(b""))
    except ValueError as error:
        sys.exit(f"error: {error}")
    except HTTPException as error:
        sys.exit(f"error: {error.detail}")
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()

"""Run the smoke test: `python -m infra.smoke --url URL`, with the API key in the variable DROPZONE_KEY.

Prints one line per check, and exits with 1 at the first check that fails. The key needs the scopes submit and read.
With the scope admin, the samples of the run are deleted.
"""

import argparse
import asyncio
import os
import sys

from dropzone import DEFAULT_URL, DropzoneError
from infra.smoke.checks import Failure, SmokeTest
from runtime import interruption


def main() -> None:
    """Run all checks."""
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    parser.add_argument("--url", default=os.environ.get("DROPZONE_URL", DEFAULT_URL), help="the URL of the API")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="for each check; default 120")
    options = parser.parse_args()
    key = os.environ.get("DROPZONE_KEY", "")
    if not key:
        sys.exit("error: set DROPZONE_KEY to an API key with the scopes submit and read")
    try:
        with interruption.ends_command():
            asyncio.run(SmokeTest(options.url, key, timeout_seconds=options.timeout).run())
    except (Failure, DropzoneError) as error:
        sys.exit(f"failed: {error}")


if __name__ == "__main__":
    main()

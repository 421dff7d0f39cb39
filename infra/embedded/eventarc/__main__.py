"""`python -m infra.embedded.eventarc`: list dead letters and send them again."""

import argparse
import contextlib
import sqlite3
import sys
from pathlib import Path

from infra.embedded.eventarc import dead_letters

MOST_LISTED = 1_000
BUSY_SECONDS = 30


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.eventarc", description=__doc__)
    parser.add_argument("what", choices=["dead-letters"], help="events that were given up")
    parser.add_argument("action", choices=["list", "resend"])
    parser.add_argument("sequences", type=int, nargs="*", metavar="SEQUENCE", help="resend only these")
    parser.add_argument("--data", type=Path, required=True, help="file of the embedded Firestore")
    parser.add_argument("--trigger", help="only those of this trigger")
    return parser.parse_args()


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    if not arguments.data.is_file():
        sys.stderr.write(f"there is no file {arguments.data}\n")
        return 1
    with contextlib.closing(sqlite3.connect(arguments.data, timeout=BUSY_SECONDS)) as connection, connection:
        if not dead_letters.has_triggers(connection):
            sys.stderr.write(f"no trigger was ever used with {arguments.data}\n")
            return 1
        if arguments.action == "resend":
            number = dead_letters.send_again(connection, arguments.trigger, arguments.sequences)
            sys.stdout.write(f"{number} to be sent again\n")
            return 0
        for letter in dead_letters.listed(connection, arguments.trigger, MOST_LISTED):
            sys.stdout.write(f"{letter.sequence}  {letter.trigger}  {letter.name}\n")
            written = letter.written.isoformat(timespec="seconds")
            sys.stdout.write(f"    written {written}, failed {letter.attempts} times: {letter.problem}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m infra.embedded.eventarc`: list dead letters, send them again, forget a trigger."""

import argparse
import contextlib
import sqlite3
import sys
from pathlib import Path

from infra.embedded.eventarc import dead_letters

BUSY_SECONDS = 30


class Refused(Exception):
    """The command cannot be done; the message says why."""


def parse_arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.eventarc", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    letters = commands.add_parser("dead-letters", help="events that were given up")
    actions = letters.add_subparsers(dest="action", required=True)
    resend = actions.add_parser("resend", help="send all again, or those of some sequences")
    resend.add_argument("sequences", type=int, nargs="*", metavar="SEQUENCE")
    for action in (actions.add_parser("list", help="oldest first"), resend):
        action.add_argument("--trigger", help="only those of this trigger")
        action.add_argument("--data", type=Path, required=True, help="file of the embedded Firestore")
    forget = commands.add_parser("forget", help="drop what waits for a trigger that is not used any more")
    forget.add_argument("trigger")
    forget.add_argument("--data", type=Path, required=True, help="file of a Firestore that is stopped")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> list[str]:
    """Do what was asked for; return the lines to print."""
    if not arguments.data.is_file():
        raise Refused(f"there is no file {arguments.data}")
    with contextlib.closing(sqlite3.connect(arguments.data, timeout=BUSY_SECONDS)) as connection, connection:
        return _run(arguments, connection)


def _run(arguments: argparse.Namespace, connection: sqlite3.Connection) -> list[str]:
    """Do it in one transaction."""
    if not dead_letters.has_triggers(connection):
        raise Refused(f"no trigger was ever used with {arguments.data}")
    if arguments.command == "forget":
        if not dead_letters.forget(connection, arguments.trigger):
            raise Refused(f"no trigger is called {arguments.trigger}")
        return [f"{arguments.trigger} is forgotten"]
    if arguments.action == "resend":
        number = dead_letters.send_again(connection, arguments.trigger, arguments.sequences)
        return [f"{number} to be sent again"]
    lines = []
    for letter in dead_letters.listed(connection, arguments.trigger, dead_letters.MAX_LISTED):
        written = letter.written.isoformat(timespec="seconds")
        lines.append(f"{letter.sequence}  {letter.trigger}  {letter.name}")
        lines.append(f"    written {written}, failed {letter.attempts} times: {letter.problem}")
    return lines


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    try:
        lines = run(arguments)
    except (Refused, sqlite3.Error) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m infra.embedded.eventarc`: show undelivered events, resend or discard dead letters, or forget a trigger."""

import argparse
import contextlib
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.embedded.eventarc import dead_letters, undelivered
from infra.embedded.eventarc.delivery.delivery import State
from infra.embedded.firestore.data_file.file_format import UnusableFile
from infra.embedded.firestore.data_file.lock_file import LockFile, StorageInUse
from runtime import interruption

BUSY_TIMEOUT_SECONDS = 30


class CommandError(Exception):
    """The command failed. The message says why."""


def parse_arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.embedded.eventarc", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="show the number of waiting events of each trigger")
    listing = commands.add_parser("undelivered", help="list events that failed, oldest first, with their last error")
    for command in (status, listing):
        command.add_argument("--data", type=Path, required=True, help="data file of the embedded Firestore")
    letters = commands.add_parser("dead-letters", help="list, resend or discard events that are not retried any more")
    actions = letters.add_subparsers(dest="action", required=True)
    resend = actions.add_parser(
        "resend", help="resend all dead letters, or only the dead letters with the given sequence numbers"
    )
    discard = actions.add_parser(
        "discard", help="delete the dead letters with the given sequence numbers, with the documents in them"
    )
    for action, count in ((resend, "*"), (discard, "+")):
        action.add_argument(
            "sequences",
            type=int,
            nargs=count,
            metavar="SEQUENCE",
            help="sequence number of a dead letter: the first number in its line of `list`",
        )
    for action in (actions.add_parser("list", help="list dead letters, oldest first"), resend, discard):
        action.add_argument("--trigger", help="select only dead letters of this trigger")
        action.add_argument("--data", type=Path, required=True, help="data file of the embedded Firestore")
    forget = commands.add_parser(
        "forget", help="delete all events of a trigger that is not configured any more, including its dead letters"
    )
    forget.add_argument("trigger", help="name of the trigger")
    forget.add_argument("--data", type=Path, required=True, help="data file; stop the embedded Firestore first")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> list[str]:
    """Run the command; return the lines to print. Raises `CommandError`.

    While a server runs, `forget` raises `StorageInUse`: events of the trigger that wait for delivery would be lost.
    """
    if not arguments.data.is_file():
        raise CommandError(f"the data file {arguments.data} does not exist")
    changes = arguments.command == "forget" or (arguments.command == "dead-letters" and arguments.action != "list")
    # If the server is stopped, a connection that may write applies the write-ahead log to the file when it is closed.
    uri = f"{arguments.data.absolute().as_uri()}?mode={'rw' if changes else 'ro'}"
    with contextlib.ExitStack() as resources:
        if arguments.command == "forget":
            resources.enter_context(contextlib.closing(LockFile(arguments.data.resolve())))
        connection = resources.enter_context(contextlib.closing(sqlite3.connect(uri, BUSY_TIMEOUT_SECONDS, uri=True)))
        with connection:
            return _run(arguments, connection)


def _run(arguments: argparse.Namespace, connection: sqlite3.Connection) -> list[str]:
    """Run the command in one transaction."""
    if not dead_letters.has_triggers(connection):
        raise CommandError(
            f"{arguments.data} contains no trigger data; start Firestore with --triggers and this file first"
        )
    if arguments.command == "status":
        return [line for status in undelivered.statuses(connection) for line in _describe(status)]
    if arguments.command == "undelivered":
        return _list(undelivered.read(connection), with_state=True)
    if arguments.command == "forget":
        if not dead_letters.forget(connection, arguments.trigger):
            raise CommandError(f"{arguments.data} contains no trigger named {arguments.trigger}")
        return [f"deleted all events of {arguments.trigger}"]
    if arguments.action == "list":
        return _list(undelivered.read(connection, arguments.trigger, state=State.DEAD), with_state=False)
    _check_sequences(connection, arguments.trigger, arguments.sequences)
    if arguments.action == "resend":
        number = dead_letters.resend(connection, arguments.trigger, arguments.sequences)
        return [f"dead letters to send again: {number}"]
    number = dead_letters.discard(connection, arguments.trigger, arguments.sequences)
    return [f"deleted dead letters: {number}"]


def _check_sequences(connection: sqlite3.Connection, trigger: str | None, sequences: Sequence[int]) -> None:
    """Raise `CommandError` if one of the sequence numbers is not that of a dead letter."""
    if not sequences:
        return
    known = {event.sequence for event in undelivered.read(connection, trigger, state=State.DEAD)}
    unknown = [str(sequence) for sequence in sequences if sequence not in known]
    if unknown:
        raise CommandError(
            f"expected sequence numbers of dead letters, got {', '.join(unknown)}; nothing was changed; "
            "`dead-letters list` prints the numbers"
        )


def _list(events: Iterable[undelivered.UndeliveredEvent], *, with_state: bool) -> list[str]:
    lines = []
    for event in events:
        written = event.written_at.isoformat(timespec="seconds")
        lines.append(f"{event.sequence}  {event.trigger}  {event.name}" + (f"  {event.state}" if with_state else ""))
        lines.append(f"    written {written}, failed {event.attempts} times: {event.problem}")
    return lines


def _describe(status: undelivered.Status) -> list[str]:
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in status.states.items())
    lines = [f"{status.trigger}", f"    changes to deliver: {status.changes}", f"    failed events: {states}"]
    if status.oldest is not None:
        written = datetime.fromtimestamp(status.oldest / 1_000_000, UTC).isoformat(timespec="seconds")
        lines.append(f"    oldest change to deliver: {written}")
    return lines


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments()
    try:
        with interruption.ends_command():
            sys.stdout.writelines(f"{line}\n" for line in run(arguments))
    except (CommandError, StorageInUse, UnusableFile, OSError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except sqlite3.Error as error:  # its message names no file
        sys.stderr.write(f"{arguments.data} cannot be used: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

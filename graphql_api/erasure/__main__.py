"""Erase all documents of a submitter: `python -m graphql_api.erasure --submitter NAME --yes`.

The command refuses a submitter that has a valid API key. It prints the number of deleted documents by collection, as
JSON. Run it again two minutes later, until it deletes nothing: an event that was in flight can write a result.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence

from graphql_api.erasure.eraser import Eraser
from runtime import interruption
from storage.documents import DropzoneError, document_paths
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from storage.firestore.writes.group_commit_writer import GroupCommitWriter

TIMEOUT_SECONDS = 60.0


async def _run(submitter: str) -> Counter[str]:
    firestore = Firestore.connect(timeout_seconds=TIMEOUT_SECONDS)
    writer = GroupCommitWriter(firestore, timeout_seconds=TIMEOUT_SECONDS)
    try:
        await firestore.wait_for_connection()
        eraser = Eraser(firestore, writer, submitter)
        await eraser.check_keys()
        return await eraser.erase()
    finally:
        await writer.close()
        await firestore.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Exits with status 1 and prints an error message if it fails."""
    parser = argparse.ArgumentParser(prog="python -m graphql_api.erasure", description=__doc__)
    parser.add_argument("--submitter", required=True, help="the submitter whose documents are erased")
    parser.add_argument("--yes", action="store_true", required=True, help="confirm: nothing can be restored")
    options = parser.parse_args(arguments)
    if not document_paths.is_submitter(options.submitter):
        parser.error(f"expected the name of a submitter, got {options.submitter!r}")
    try:
        with interruption.ends_command():
            erased = asyncio.run(_run(options.submitter))
            sys.stdout.write(f"{json.dumps(erased, sort_keys=True)}\n")
    except (DropzoneError, FirestoreError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Verify stored samples and results: `python -m triggers.verify [--submitter NAME] [--recompute-every N]`.

Each sample is read with its chunks, and its bytes are compared with its size and SHA-256. Each result is compared with
its sample. Every Nth result is computed again and must be equal. The server may run at the same time: samples that
arrive during the verification may or may not be read. The command prints each problem, and exits with 1 if it finds
any.

`python -m infra.embedded.firestore.archive check` checks the data file of the embedded Firestore and its indexes.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from runtime import interruption
from storage.documents import DropzoneError, document_paths
from storage.firestore.client import Firestore
from storage.firestore.errors import FirestoreError
from triggers.verify.verifier import Totals, Verifier

TIMEOUT_SECONDS = 60.0
RECOMPUTE_EVERY = 100


async def _run(options: argparse.Namespace) -> Totals:
    firestore = Firestore.connect(timeout_seconds=TIMEOUT_SECONDS)
    try:
        await firestore.wait_for_connection()
        verifier = Verifier(firestore, options.submitter, options.recompute_every)
        async for problem in verifier.problems():
            sys.stdout.write(f"{problem}\n")
        return verifier.totals
    finally:
        await firestore.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m triggers.verify", description=__doc__)
    parser.add_argument("--submitter", help="verify the samples of this submitter only")
    parser.add_argument(
        "--recompute-every",
        type=int,
        default=RECOMPUTE_EVERY,
        metavar="N",
        help="compute every Nth result again; 1 computes all (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.submitter is not None and not document_paths.is_submitter(options.submitter):
        parser.error(f"expected the name of a submitter, got {options.submitter!r}")
    if options.recompute_every < 1:
        parser.error(f"expected --recompute-every to be at least 1, got {options.recompute_every}")
    try:
        with interruption.ends_command():
            totals = asyncio.run(_run(options))
    except (DropzoneError, FirestoreError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    sys.stderr.write(f"{totals}\n")
    return int(totals.problems > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Resuming a Listen target: resume tokens, and the changes that a client missed.

A resume token holds the read time and the sequence of the last change that the stream has sent, and the identity of the
database. Sequences do not depend on the clock.

Note: Google's clients keep the changes that they received after their last token, and apply them with the next
consistent snapshot. The server must therefore remove each document that a client may have received after this token.
"""

import struct
from collections.abc import AsyncIterator
from typing import Any

from infra.embedded.firestore.encoding import limits
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.listen.targets import Target
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import ParsedChange
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage
from infra.embedded.firestore.storage.versions import Change

NAMES_PER_READ = 5_000
CHANGES_PER_READ = 50  # a change may hold two documents of 1 MiB
MAX_MISSED_DOCUMENTS = 20_000
MAX_MISSED_BYTES = 16 * 1024 * 1024

_TOKEN = struct.Struct(">QQ")


def encode_token(storage: Storage, position: Snapshot) -> bytes:
    """Return the resume token for a position."""
    return _TOKEN.pack(position.sequence, position.read_time) + storage.database_id.encode()


async def resume_position(storage: Storage, message: Any, latest: Snapshot) -> Snapshot | None:
    """Return the position after which the target resumes, or None if the target must start again.

    A target starts again in these cases:

    - The Target message `message` has neither a resume token nor a read time.
    - The changes after the position are pruned.
    - The token is not valid, it is from another database, or it is from the file before a backup replaced it.
    """
    resume_type = message.WhichOneof("resume_type")
    if resume_type == "resume_token":
        position, database_id = message.resume_token[: _TOKEN.size], message.resume_token[_TOKEN.size :]
        if len(position) != _TOKEN.size or database_id != storage.database_id.encode():
            return None
        sequence, read_time = _TOKEN.unpack(position)
    elif resume_type == "read_time":
        read_time = limits.version_time(message.read_time)
        if not storage.clock.reserve(read_time):
            raise invalid_argument("The requested 'read_time' cannot be in the future.")
        sequence = await storage.read(lambda connection: versions.sequence_at(connection, read_time))
    else:
        return None
    if not storage.pruned_sequence <= sequence <= latest.sequence:
        return None
    if await storage.read(lambda connection: versions.commit_time_up_to(connection, sequence)) > read_time:
        return None  # the token is from the file before a backup replaced it
    return Snapshot(read_time, sequence)


async def missed_changes(
    storage: Storage, target: Target, resumed: Snapshot, latest: Snapshot
) -> list[ParsedChange] | None:
    """Return the net change of each document of a target from `resumed` to `latest`.

    Return None if there are too many changes, or if changes were pruned during the call.
    """
    net: dict[str, ParsedChange] = {}
    size = 0
    async for change in _changes_of(storage, target, resumed.sequence, latest.sequence):
        earlier = net.get(change.name)
        net[change.name] = parsed = ParsedChange(change) if earlier is None else earlier.merged_with(change)
        size += parsed.size
        if len(net) > MAX_MISSED_DOCUMENTS or size > MAX_MISSED_BYTES:
            return None
    # This read is the last one, so it sees each pruning that the others have seen. `storage.pruned_sequence` may not.
    if resumed.sequence < await storage.read(versions.pruned_sequence):
        return None
    return list(net.values())


async def _changes_of(storage: Storage, target: Target, after: int, last: int) -> AsyncIterator[Change]:
    """Yield the changes of the documents of a target. Read only the names of other documents."""
    while after < last:
        names = await storage.changed_names(after, NAMES_PER_READ)
        sequences = [sequence for sequence, name in names if sequence <= last and target.covers(name)]
        for start in range(0, len(sequences), CHANGES_PER_READ):
            for change in await storage.changes_at(sequences[start : start + CHANGES_PER_READ]):
                yield change
        if not names:
            return
        after = names[-1][0]

"""Resuming a Listen target: resume tokens, and the changes that a client missed.

A resume token holds the read time and the sequence of the last change that the stream has sent. Sequences do not
depend on the clock.
"""

import struct
from typing import Any

from infra.embedded.firestore.encoding import limits
from infra.embedded.firestore.errors import invalid_argument
from infra.embedded.firestore.listen.targets import Target
from infra.embedded.firestore.storage import versions
from infra.embedded.firestore.storage.change_feed import ParsedChange
from infra.embedded.firestore.storage.clock import Snapshot
from infra.embedded.firestore.storage.storage import Storage

PAGE_SIZE = 500
MAX_MISSED_DOCUMENTS = 20_000
MAX_MISSED_BYTES = 16 * 1024 * 1024

_TOKEN = struct.Struct(">QQ")


def encode_token(position: Snapshot) -> bytes:
    """Return the resume token for a position."""
    return _TOKEN.pack(position.sequence, position.read_time)


async def resume_position(storage: Storage, message: Any, latest: Snapshot) -> Snapshot | None:
    """Return the position after which the target resumes, or None if the target must start again.

    A target starts again in three cases: the Target message `message` has no resume token and no read time, the changes
    after the position are pruned, or the token is not valid or from another data file.
    """
    resume_type = message.WhichOneof("resume_type")
    if resume_type == "resume_token":
        if len(message.resume_token) != _TOKEN.size:
            return None
        sequence, read_time = _TOKEN.unpack(message.resume_token)
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
        return None  # the token is from another data file, for example from the file before a backup replaced it
    return Snapshot(read_time, sequence)


async def missed_changes(
    storage: Storage, target: Target, resumed: Snapshot, latest: Snapshot
) -> list[ParsedChange] | None:
    """Return the net change of each document of a target from `resumed` to `latest`.

    Return None if there are too many changes, or if changes were pruned during the call.
    """
    net: dict[str, ParsedChange] = {}
    size = 0
    after = resumed.sequence
    while after < latest.sequence:
        page = await storage.changes(after, PAGE_SIZE)
        for change in page:
            parsed = ParsedChange(change)
            if change.sequence <= latest.sequence and target.may_show(parsed):
                earlier = net.get(change.name)
                net[change.name] = parsed if earlier is None else earlier.merged_with(change)
                size += parsed.size
        if len(net) > MAX_MISSED_DOCUMENTS or size > MAX_MISSED_BYTES:
            return None
        if not page:
            break
        after = page[-1].sequence
    if resumed.sequence < storage.pruned_sequence:
        return None
    return list(net.values())

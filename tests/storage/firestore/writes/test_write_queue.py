"""The order of the writes of a submitter, and its share of the writes in flight while several submitters write."""

import asyncio
import math

from storage.firestore.writes.write_queue import (
    MAX_BATCH_BYTES,
    MIN_SHARE_WRITES,
    QUICK_RATIO,
    TOGETHER_SECONDS,
    SubmitterWrites,
    WriteGroup,
    WriteQueue,
    WriteShare,
)
from tests.storage.firestore.writes.numbered_writes import new_write

MAX_WRITES, MAX_CALLS = 500, 2
MAX_SHARE = MAX_WRITES * MAX_CALLS
QUICKEST = 0.001
QUICK = QUICK_RATIO * QUICKEST


def shared() -> WriteShare:
    """Return the share after two submitters have written at the time 0."""
    share = WriteShare(MAX_WRITES, MAX_CALLS)
    share.note("one", 0)
    share.note("other", 0)
    return share


async def test_a_write_that_does_not_fit_is_not_overtaken_by_later_writes_of_its_submitter() -> None:
    """It is the first write of the next batch."""
    queue, group = WriteQueue(), WriteGroup(3, math.inf, asyncio.get_running_loop().create_future())
    writes, sizes = [new_write(str(number)) for number in range(3)], [MAX_BATCH_BYTES - 1, 2, 1]
    queue.add(SubmitterWrites("one"), writes, sizes, group)

    batches = [[pending.index for pending in queue.next_batch(MAX_WRITES, MAX_SHARE)] for _ in range(2)]

    assert batches == [[0], [1, 2]]


async def test_a_write_of_any_size_is_sent() -> None:
    """Firestore decides whether it is too large. In the queue, it would delay the writes after it forever."""
    queue, group = WriteQueue(), WriteGroup(1, math.inf, asyncio.get_running_loop().create_future())
    queue.add(SubmitterWrites("one"), [new_write("1")], [MAX_BATCH_BYTES + 1], group)

    assert len(queue.next_batch(MAX_WRITES, MAX_SHARE)) == 1


def test_a_submitter_that_writes_alone_fills_all_calls() -> None:
    """Writes of the process itself do not count."""
    share = WriteShare(MAX_WRITES, MAX_CALLS)
    for submitter in ("one", "", "one"):
        share.note(submitter, 0)

    assert share.at(0) == MAX_SHARE


def test_the_share_ends_when_the_others_have_stopped() -> None:
    """The writes of one submitter do not prolong it."""
    share = shared()
    share.note("other", TOGETHER_SECONDS)

    assert share.at(TOGETHER_SECONDS - 0.1) == MIN_SHARE_WRITES
    assert share.at(TOGETHER_SECONDS) == MAX_SHARE


def test_the_share_grows_while_full_calls_are_quick() -> None:
    """Calls with fewer writes do not show that more writes would be quick too."""
    share = shared()
    share.adjust(QUICK, MIN_SHARE_WRITES // MAX_CALLS - 1)
    assert share.at(0) == MIN_SHARE_WRITES

    for _ in range(MAX_WRITES):
        share.adjust(QUICK, MAX_WRITES)
    assert share.at(0) == MAX_SHARE


def test_the_share_shrinks_while_calls_are_slow() -> None:
    """It does not become so small that the cost of each call dominates."""
    share = shared()
    share.adjust(QUICKEST, 1)
    share.adjust(QUICK, MAX_WRITES)
    grown = share.at(0)
    share.adjust(QUICK + 0.01, 1)
    assert MIN_SHARE_WRITES <= share.at(0) < grown

    for _ in range(10):
        share.adjust(10, MAX_WRITES)
    assert share.at(0) == MIN_SHARE_WRITES


def test_calls_to_a_distant_firestore_are_slow_only_in_relation_to_the_quickest() -> None:
    """Otherwise each call there would be slow, also with a small batch."""
    share = shared()
    for _ in range(MAX_WRITES):
        share.adjust(0.1, MAX_WRITES)

    assert share.at(0) == MAX_SHARE

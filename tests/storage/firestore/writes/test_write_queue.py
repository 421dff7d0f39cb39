"""While several submitters write, each has a share of the writes in flight."""

from storage.firestore.writes.write_queue import MIN_SHARE_WRITES, QUICK_RATIO, TOGETHER_SECONDS, WriteShare

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

"""Transactions, one at a time: what they read, what they leave, and that they leave nothing when they end early.

Those that get in each other's way are compared nowhere: the emulator waits 30 seconds for a lock.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.differential.examples import examples
from tests.differential.queries import finds
from tests.differential.sides import Both
from tests.differential.test_documents import everything
from tests.differential.transacting import Transact
from tests.differential.writes import Commit, commits, paths, writes

plain_finds = finds().filter(lambda query: not any(isinstance(cursor.at, str) for cursor in query.cursors))
unconditional = writes.filter(lambda write: getattr(write, "condition", None) is None)
transactions = st.builds(
    Transact,
    reads=st.lists(st.one_of(paths, paths, plain_finds), max_size=3).map(tuple),
    writes=st.lists(unconditional, max_size=3).map(tuple),
    read_only=st.sampled_from((False, False, True)),
    gives_up=st.sampled_from((False, False, True)),
)


@given(stored=commits, steps=st.lists(transactions, min_size=1, max_size=5))
@examples()
def test_what_transactions_read_and_leave(both: Both, stored: Commit, steps: list[Transact]) -> None:
    """What was read, what was refused, and every document afterwards."""
    both.start_over()
    both.agree_on(stored)

    for step in steps:
        both.agree_on(step)

    both.agree_on(everything)

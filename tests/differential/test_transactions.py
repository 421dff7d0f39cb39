"""Single transactions read and store the same on both servers, and store nothing if they are rolled back.

Conflicting transactions are not compared, because the emulator waits 30 seconds for a lock.
"""

from hypothesis import given
from hypothesis import strategies as st

from tests.differential.compared_servers import ServerPair
from tests.differential.examples import examples
from tests.differential.queries import finds
from tests.differential.test_documents import all_documents
from tests.differential.transaction_step import TransactionStep
from tests.differential.writes import Commit, commits, paths, writes

plain_finds = finds().filter(lambda query: not any(isinstance(cursor.at, str) for cursor in query.cursors))
unconditional = writes.filter(lambda write: getattr(write, "condition", None) is None)
transactions = st.builds(
    TransactionStep,
    reads=st.lists(st.one_of(paths, paths, plain_finds), max_size=3).map(tuple),
    writes=st.lists(unconditional, max_size=3).map(tuple),
    read_only=st.sampled_from((False, False, True)),
    rolls_back=st.sampled_from((False, False, True)),
)


@given(stored=commits, steps=st.lists(transactions, min_size=1, max_size=5))
@examples()
def test_transactions_read_and_store_the_same(pair: ServerPair, stored: Commit, steps: list[TransactionStep]) -> None:
    """Results of reads, refusals and all stored documents are equal."""
    pair.use_empty_project()
    pair.compare(stored)

    for step in steps:
        pair.compare(step)

    pair.compare(all_documents)

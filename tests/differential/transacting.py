"""A transaction as a user writes it: reads, then writes, then an end."""

from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import Transaction, transactional

from tests.differential.queries import Find
from tests.differential.sides import Side
from tests.differential.writes import Write


@dataclass(frozen=True)
class Transact:
    """A transaction; called, it gives what was read and what the writes led to."""

    reads: tuple[str | Find, ...]
    writes: tuple[Write, ...]
    read_only: bool
    gives_up: bool

    def __call__(self, side: Side) -> Any:
        """Run the transaction, once."""

        @transactional
        def run(transaction: Transaction) -> Any:
            found = [self._read(read, transaction, side) for read in self.reads]
            for write in self.writes:
                write.add_to(transaction, side)
            if self.gives_up:
                raise ValueError("given up")
            return found

        transaction = side.client.transaction(max_attempts=1, read_only=self.read_only)
        found = run(transaction)
        return [found, len(transaction.write_results)]

    @staticmethod
    def _read(read: str | Find, transaction: Transaction, side: Side) -> Any:
        if isinstance(read, Find):
            return read.build(side).get(transaction=transaction, retry=None)
        return side.client.document(read).get(transaction=transaction, retry=None)

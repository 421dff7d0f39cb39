"""A transaction of Google's client: reads, then writes, then a commit or a rollback."""

from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import Transaction, transactional

from tests.differential.compared_servers import ComparedServer
from tests.differential.queries import Find
from tests.differential.writes import Write


@dataclass(frozen=True)
class TransactionStep:
    """A transaction. Calling it returns the results of its reads and the number of its writes."""

    reads: tuple[str | Find, ...]
    writes: tuple[Write, ...]
    read_only: bool
    rolls_back: bool

    def __call__(self, server: ComparedServer) -> Any:
        """Run the transaction with one attempt."""

        @transactional
        def run(transaction: Transaction) -> Any:
            results = [self._read(read, transaction, server) for read in self.reads]
            for write in self.writes:
                write.add_to(transaction, server)
            if self.rolls_back:
                raise ValueError("rolled back")
            return results

        transaction = server.client.transaction(max_attempts=1, read_only=self.read_only)
        results = run(transaction)
        return [results, len(transaction.write_results)]

    @staticmethod
    def _read(read: str | Find, transaction: Transaction, server: ComparedServer) -> Any:
        if isinstance(read, Find):
            return read.build(server).get(transaction=transaction, retry=None)
        return server.client.document(read).get(transaction=transaction, retry=None)

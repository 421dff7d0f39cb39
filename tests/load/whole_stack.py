"""The whole stack, started by its documented command, with its processes where a row wants them."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.load import machine, samples, store
from tests.load.generator import Target
from tests.load.machine import Processors
from tests.load.plan import Plan
from tests.load.process import wait_until
from tests.stack import Stack

DRAIN_SECONDS = 120.0
LOOK_SECONDS = 0.02
COUNT_SECONDS = 1.0


class WholeStack:
    """A running stack, its key and Google's client of its Firestore."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.api, self.function, self.firestore = stack.api_pid(), stack.function_pid(), stack.firestore_pid()
        self.headers = {"content-type": "application/json", "x-api-key": stack.key}
        self.database: Any = store.client(f"127.0.0.1:{stack.firestore_port}")

    def place(self, api: Processors, others: Processors) -> None:
        """Bind the API to some processors, and the rest of the stack to others."""
        machine.place(self.api, api)
        machine.place(self.function, others)
        machine.place(self.firestore, others)

    def target(self, values: int) -> Target:
        """Return the request that submits a sample."""
        return Target(
            f"{self.stack.url}/graphql", samples.submission(samples.sample(values)), '"PENDING"', self.headers
        )

    def stored(self) -> int:
        """Return how many samples there are."""
        return store.count(self.database, store.SAMPLES)

    def computed(self) -> int:
        """Return how many results there are."""
        return store.count(self.database, store.RESULTS)

    def pass_one(self) -> None:
        """Submit one sample and wait for its result: by then whatever came before it is done, or under way.

        To count is no way to wait: it costs Firestore more than all that it waits for.
        """
        sample = self.stack.submit_fixture()["id"]
        result = self.database.document(f"{store.RESULTS}/{sample}")
        wait_until(lambda: bool(result.get().exists), "a sample has its result", DRAIN_SECONDS, look=LOOK_SECONDS)

    def drain(self) -> None:
        """Wait until every sample has its result."""
        self.pass_one()
        wait_until(
            lambda: self.computed() == self.stored(), "every sample has a result", DRAIN_SECONDS, look=COUNT_SECONDS
        )


@contextlib.contextmanager
def whole_stack(plan: Plan) -> Iterator[WholeStack]:
    """Run a stack of its own; the API alone on one processor unless a row places it again."""
    with Stack(plan.new_folder("stack")) as stack:
        running = WholeStack(stack)
        running.place(plan.placement.one, plan.placement.other)
        yield running

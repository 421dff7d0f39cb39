"""The whole stack, started by its documented command, with its processes bound to processors."""

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.load import machine, samples, stack_processes
from tests.load.machine import Processors
from tests.load.plan import Plan
from tests.load.process import wait_until
from tests.load.wrk import Target
from tests.stack import Stack

DRAIN_SECONDS = 120.0
LOOK_SECONDS = 0.02
COUNT_SECONDS = 1.0


class WholeStack:
    """A running stack, its key and Google's client of its Firestore."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.apis = stack.pids_of("-m graphql_api")
        self.functions = stack.function_pids()
        self.api, self.function, self.firestore = self.apis[0], self.functions[0], stack.firestore_pid()
        self.headers = {"content-type": "application/json", "x-api-key": stack.key}
        self.database: Any = stack_processes.client(f"127.0.0.1:{stack.firestore_port}")

    def place(self, api: Processors, others: Processors) -> None:
        """Bind the API to some processors and the other processes to others."""
        for pid in self.apis:
            machine.place(pid, api)
        for pid in (*self.functions, self.firestore):
            machine.place(pid, others)

    def target(self, values: int) -> Target:
        """Return the request that submits a sample."""
        return Target(
            f"{self.stack.url}/graphql", samples.submission(samples.sample(values)), '"PENDING"', self.headers
        )

    def stored(self) -> int:
        """Return the number of samples."""
        return stack_processes.count(self.database, stack_processes.SAMPLES)

    def computed(self) -> int:
        """Return the number of results."""
        return stack_processes.count(self.database, stack_processes.RESULTS)

    def pass_one(self) -> None:
        """Submit one sample and wait for its result. By then all earlier samples are done or in progress.

        Counting results would cost Firestore more than the measured work.
        """
        sample = self.stack.submit_fixture()["id"]
        result = self.database.document(f"{stack_processes.RESULTS}/{sample}")
        wait_until(lambda: bool(result.get().exists), "a sample has its result", DRAIN_SECONDS, look=LOOK_SECONDS)

    def drain(self) -> None:
        """Wait until every sample has its result."""
        self.pass_one()
        wait_until(
            lambda: self.computed() == self.stored(), "every sample has a result", DRAIN_SECONDS, look=COUNT_SECONDS
        )


@contextlib.contextmanager
def whole_stack(plan: Plan, **settings: str) -> Iterator[WholeStack]:
    """Run a new stack. The API has one processor for itself unless a row changes that."""
    with Stack(plan.new_folder("stack"), **settings) as stack:
        wait_until(lambda: "everything is ready" in stack.log, "all processes are there")
        running = WholeStack(stack)
        running.place(plan.placement.one, plan.placement.other)
        yield running

"""Start in order, wait until ready, restart what dies, stop in reverse.

While the stack starts, a process that dies or never becomes ready ends everything, with its last lines:
somebody is watching. Once all are ready nothing but a request to stop ends it: what dies is started
again, with backoff, and said. To stop takes two seconds at most: SIGTERM one after the other in reverse
order, then SIGKILL for what is still there.
"""

import asyncio
import signal
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from infra.embedded.child import Child
from infra.embedded.instances import Instance
from infra.embedded.logs import Logs
from infra.embedded.stack import Stack
from infra.embedded.watchdog import Watchdog

STOP_SECONDS = 1.5
KILL_SECONDS = 0.3
FIRST_RESTART_SECONDS = 0.2
MAX_RESTART_SECONDS = 10.0
STEADY_SECONDS = 10.0  # whoever ran that long is started again quickly
GREETING_SECONDS = 60.0
GREETING = "greeting"


class StartError(Exception):
    """A process did not become ready; the message says why, with its last lines."""


class Supervisor:
    """Everything that one stack file names, from start to stop."""

    def __init__(self, stack: Stack, instances: Sequence[Instance], logs: Logs, watchdog: Watchdog) -> None:
        """Nothing is started before `run`."""
        self._stack = stack
        self._instances = instances
        self._logs = logs
        self._watchdog = watchdog
        self._children: dict[str, Child] = {}
        self._ready = {instance.name: asyncio.Event() for instance in instances}
        self._stop = asyncio.Event()

    async def run(self, *, greet: bool) -> int:
        """Run until somebody asks to stop, or until the start fails; return the exit code."""
        self._listen_to_signals()
        self._logs.when_lost = self._stop.set
        tasks = [asyncio.create_task(self._keep(instance)) for instance in self._instances]
        tasks.append(asyncio.create_task(self._announce(greet=greet)))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await self._watch(tasks, stopping)
            self._say("stopping")
        except StartError as error:
            self._problem(str(error))
            return 1
        finally:
            await _cancel([*tasks, stopping])
            await self._stop_all()
        return 0

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
            loop.add_signal_handler(signal.SIGHUP, self._stop.set)

    async def _watch(self, tasks: Iterable["asyncio.Task[None]"], stopping: "asyncio.Task[Any]") -> None:
        remaining = {*tasks, stopping}
        while not stopping.done():
            done, remaining = await asyncio.wait(remaining, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _announce(self, *, greet: bool) -> None:
        began = time.monotonic()
        for ready in self._ready.values():
            await ready.wait()
        self._say(f"everything is ready after {time.monotonic() - began:.1f} s; Ctrl-C stops it")
        greeting = self._stack.greeting
        if not greet or greeting is None:
            return
        try:
            child = self._watched(
                await Child.start(GREETING, greeting.command, self._stack.environment, self._logs.plain)
            )
            async with asyncio.timeout(GREETING_SECONDS):
                if await asyncio.shield(child.ended):
                    self._problem(f"the greeting {child.end()}; the stack goes on")
        except (OSError, TimeoutError) as error:
            self._problem(f"the greeting failed: {error or 'it took too long'}; the stack goes on")

    async def _keep(self, instance: Instance) -> None:
        for other in self._instances:
            if other.process.name in instance.process.after:
                await self._ready[other.name].wait()
        child = await self._first_start(instance)
        self._ready[instance.name].set()
        pause = FIRST_RESTART_SECONDS
        while not instance.process.once:
            began = time.monotonic()
            await asyncio.shield(child.ended)
            if time.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_RESTART_SECONDS
            self._problem(f"{instance.name} {child.end()}; starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_RESTART_SECONDS)
            try:
                child = await self._start_instance(instance)
            except OSError as error:
                self._problem(f"{instance.name} cannot be started: {error}")
                continue
            if instance.ready is None or await child.become_ready(instance.ready):
                self._say(f"{instance.name} is ready again")

    async def _first_start(self, instance: Instance) -> Child:
        once = instance.process.once
        try:
            child = await self._start_instance(instance)
        except OSError as error:
            raise StartError(f"{instance.name} cannot be started: {error}") from error
        try:
            async with asyncio.timeout(self._stack.start_seconds):
                if instance.ready is not None:
                    await child.become_ready(instance.ready)
                if once:
                    await asyncio.shield(child.ended)
        except TimeoutError:
            awaited = instance.ready or "its end"
            what = f"is not ready: waited {self._stack.start_seconds:g} s for {awaited}"
            raise StartError(_failure(child, what)) from None
        if child.ended.done() and not (once and child.ended.result() == 0):
            raise StartError(_failure(child, f"{child.end()} when it was started"))
        return child

    async def _start_instance(self, instance: Instance) -> Child:
        write = partial(self._logs.line, instance.name)
        environment = instance.process.environment
        return self._watched(await Child.start(instance.name, instance.command, environment, write, instance.sockets))

    def _watched(self, child: Child) -> Child:
        self._watchdog.watch(child.group)
        child.ended.add_done_callback(lambda _: self._watchdog.forget(child.group))
        self._children[child.name] = child
        return child

    async def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        names = [[each.name for each in self._instances if each.process is one] for one in self._stack.processes]
        started = [[self._children[name] for name in group if name in self._children] for group in (*names, [GREETING])]
        running = [[child for child in group if not child.ended.done()] for group in reversed(started)]
        groups = [group for group in running if group]
        for number, group in enumerate(groups):
            for child in group:
                child.signal(signal.SIGTERM)
            share = (deadline - time.monotonic()) / (len(groups) - number)
            await asyncio.wait([child.ended for child in group], timeout=share)
        late = [child for group in groups for child in group if not child.ended.done()]
        for child in late:
            self._problem(f"{child.name} did not stop in time and is killed")
            child.signal(signal.SIGKILL)
        if late:
            await asyncio.wait([child.ended for child in late], timeout=KILL_SECONDS)

    def _say(self, text: str) -> None:
        self._logs.line("stack", text)

    def _problem(self, text: str) -> None:
        self._logs.problem("stack", text)


def _failure(child: Child, what: str) -> str:
    lines = "\n".join(f"    {line}" for line in child.last_lines)
    return f"{child.name} {what}" + (f"; its last lines:\n{lines}" if lines else "; it printed nothing")


async def _cancel(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

"""Start in order, wait until ready, restart what dies, stop in reverse.

While the stack starts, a process that dies or never becomes ready ends everything, with its last lines:
somebody is watching. Once all are ready nothing but a request to stop ends it: what dies is started
again, with backoff, and said. To stop takes two seconds at most: SIGTERM one after the other in reverse
order, then SIGKILL for what is still there.
"""

import asyncio
import signal
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from infra.embedded.child import Child
from infra.embedded.guardian import Guardian
from infra.embedded.logs import Logs
from infra.embedded.stack import Process, Stack

STOP_SECONDS = 1.5
KILL_SECONDS = 0.3
FIRST_RESTART_SECONDS = 0.2
LONGEST_RESTART_SECONDS = 10.0
STEADY_SECONDS = 10.0  # whoever ran that long is started again quickly
GREETING_SECONDS = 60.0
GREETING = "greeting"


class StartError(Exception):
    """A process did not become ready; the message says why, with its last lines."""


class Supervisor:
    """Everything that one stack file names, from start to stop."""

    def __init__(self, stack: Stack, logs: Logs, guardian: Guardian) -> None:
        """Nothing is started before `run`."""
        self._stack = stack
        self._logs = logs
        self._guardian = guardian
        self._children: dict[str, Child] = {}
        self._ready = {process.name: asyncio.Event() for process in stack.processes}
        self._stop = asyncio.Event()

    async def run(self, *, greet: bool) -> int:
        """Run until somebody asks to stop, or until the start fails; return the exit code."""
        self._listen_to_signals()
        self._logs.when_lost = self._stop.set
        tasks = [asyncio.create_task(self._keep(process)) for process in self._stack.processes]
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
            child = await self._start(GREETING, greeting.command, self._stack.environment)
            async with asyncio.timeout(GREETING_SECONDS):
                if await asyncio.shield(child.ended):
                    self._problem(f"the greeting {child.end()}; the stack goes on")
        except (OSError, TimeoutError) as error:
            self._problem(f"the greeting failed: {error or 'it took too long'}; the stack goes on")

    async def _keep(self, process: Process) -> None:
        for name in process.after:
            await self._ready[name].wait()
        child = await self._first_start(process)
        self._ready[process.name].set()
        pause = FIRST_RESTART_SECONDS
        while not process.once:
            began = time.monotonic()
            await asyncio.shield(child.ended)
            if time.monotonic() - began >= STEADY_SECONDS:
                pause = FIRST_RESTART_SECONDS
            self._problem(f"{process.name} {child.end()}; starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_RESTART_SECONDS)
            try:
                child = await self._start(process.name, process.command, process.environment)
            except OSError as error:
                self._problem(f"{process.name} cannot be started: {error}")
                continue
            if process.ready is None or await child.become_ready(process.ready):
                self._say(f"{process.name} is ready again")

    async def _first_start(self, process: Process) -> Child:
        try:
            child = await self._start(process.name, process.command, process.environment)
        except OSError as error:
            raise StartError(f"{process.name} cannot be started: {error}") from error
        try:
            async with asyncio.timeout(self._stack.start_seconds):
                if process.ready is not None:
                    await child.become_ready(process.ready)
                if process.once:
                    await asyncio.shield(child.ended)
        except TimeoutError:
            awaited = process.ready or "its end"
            what = f"is not ready: waited {self._stack.start_seconds:g} s for {awaited}"
            raise StartError(_failure(child, what)) from None
        if child.ended.done() and not (process.once and child.ended.result() == 0):
            raise StartError(_failure(child, f"{child.end()} when it was started"))
        return child

    async def _start(self, name: str, command: tuple[str, ...], environment: dict[str, str]) -> Child:
        write = self._logs.plain if name == GREETING else partial(self._logs.line, name)
        child = await Child.start(name, command, environment, write)
        self._guardian.watch(child.group)
        child.ended.add_done_callback(lambda _: self._guardian.forget(child.group))
        self._children[name] = child
        return child

    async def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        order = [process.name for process in self._stack.processes] + [GREETING]
        running = [child for child in self._children.values() if not child.ended.done()]
        running.sort(key=lambda child: order.index(child.name), reverse=True)
        for number, child in enumerate(running):
            child.signal(signal.SIGTERM)
            share = (deadline - time.monotonic()) / (len(running) - number)
            await asyncio.wait([child.ended], timeout=share)
        late = [child for child in running if not child.ended.done()]
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

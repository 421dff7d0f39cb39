"""The supervisor starts processes in order, restarts processes that exit, and stops all processes in reverse order.

If a process exits or does not become ready while the stack starts, the supervisor stops all processes and prints the
last lines of that process. After all processes were ready, the supervisor restarts a process that exits. It kills and
restarts a process that hangs. The stack then stops only after a signal, or when its output is closed.

A process that was ready is restarted immediately, because other work waits for it. A start takes most of a second, so a
crash loop is not a busy loop. A process that exits before it is ready is restarted after a pause of at most one second.
With a longer pause, one event that crashes the function would delay the work of all clients.

To stop the stack, the supervisor sends SIGTERM in reverse order. Later it sends SIGKILL to the processes that still
run. This takes less than nine seconds.
"""

import asyncio
import os
import signal
import textwrap
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from infra.embedded.backoff import Backoff
from infra.embedded.child import Child
from infra.embedded.guarded import PIPE_VARIABLE
from infra.embedded.instances import Instance
from infra.embedded.logs import Logs, message_of
from infra.embedded.preflight import PreflightError, access_advice, create_empty, is_private
from infra.embedded.probes import wait_until_ready, wait_until_silent
from infra.embedded.stack_file.stack import Stack
from infra.embedded.watchdog import Watchdog

STOP_SECONDS = 8.0  # Docker kills a container ten seconds after SIGTERM
KILL_SECONDS = 0.3
RESTART_BACKOFF = Backoff(0.1, 1.0)
MIN_INTERVAL_SECONDS = 0.5  # between two starts of a process
MAINTENANCE_SECONDS = 1.0
GREETING_TIMEOUT_SECONDS = 60.0
GREETING = "greeting"


class StartError(Exception):
    """A process did not become ready. The message says why and includes the last lines of its output."""


class Supervisor:
    """Runs the processes of one stack file."""

    def __init__(
        self, stack: Stack, instances: Sequence[Instance], logs: Logs, watchdog: Watchdog, lock: int | None
    ) -> None:
        """Prepare the supervisor. `run` starts the processes, which hold `lock` until they end."""
        self._stack = stack
        self._guard_pipe = os.pipe()
        """Guarded processes exit when the write end of this pipe is closed. Only this process holds the write end."""
        self._inherited = [self._guard_pipe[0], *([] if lock is None else [lock])]
        self._data_folder = None if stack.data_folder is None else os.open(stack.data_folder, os.O_RDONLY)
        self._instances = instances
        self._logs = logs
        self._watchdog = watchdog
        self._children: dict[str, Child] = {}
        self._ready = {instance.name: asyncio.Event() for instance in instances}
        self._stop = asyncio.Event()

    async def run(self, *, greet: bool) -> int:
        """Run until a signal arrives or the start fails. Return the exit code."""
        self._listen_to_signals()
        self._logs.output.when_lost(partial(asyncio.get_running_loop().call_soon_threadsafe, self._stop.set))
        tasks = [asyncio.create_task(self._run_instance(instance)) for instance in self._instances]
        tasks.append(asyncio.create_task(self._announce(greet=greet)))
        tasks.append(asyncio.create_task(self._maintain()))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await self._wait_for_stop(tasks, stopping)
            self._log("stopping")
        except StartError as error:
            self._log_error(str(error))
            if folder := self._stack.data_folder:
                self._log_error(access_advice(folder))
            return 1
        finally:
            await _cancel([*tasks, stopping])
            await self._stop_all()
            self._logs.summarize_repeated(is_last=True)
            self._logs.output.close()
        return 0

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup sets SIG_IGN; keep ignoring SIGHUP then
            loop.add_signal_handler(signal.SIGHUP, self._stop.set)

    async def _wait_for_stop(self, tasks: Iterable["asyncio.Task[None]"], stopping: "asyncio.Task[Any]") -> None:
        remaining = {*tasks, stopping}
        while not stopping.done():
            done, remaining = await asyncio.wait(remaining, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _announce(self, *, greet: bool) -> None:
        started = time.monotonic()
        for ready in self._ready.values():
            await ready.wait()
        self._log(f"everything is ready after {time.monotonic() - started:.1f} s; Ctrl-C stops all processes")
        if greet and self._stack.greeting is not None:
            await self._greet(self._stack.greeting.command)
        for line in self._stack.ready_message.splitlines():
            self._logs.write_plain(line)

    async def _greet(self, command: tuple[str, ...]) -> None:
        try:
            child = self._register(
                await Child.start(GREETING, command, self._stack.environment, self._logs.write_plain)
            )
            async with asyncio.timeout(GREETING_TIMEOUT_SECONDS):
                if await asyncio.shield(child.exited):
                    self._log_error(f"the greeting {child.describe_exit()}; the stack continues")
        except OSError as error:
            self._log_error(f"the greeting cannot be started: {error}; the stack continues")
        except TimeoutError:
            self._log_error(f"the greeting took longer than {GREETING_TIMEOUT_SECONDS:g} s; the stack continues")

    async def _run_instance(self, instance: Instance) -> None:
        """Start an instance when the processes before it are ready, and restart it whenever it exits."""
        for other in self._instances:
            if other.process.name in instance.process.after:
                await self._ready[other.name].wait()
        child = await self._start_first(instance)
        self._ready[instance.name].set()
        failures = 0
        started = time.monotonic()
        await self._wait_for_exit(instance, child)
        problem = child.describe_exit()
        while not instance.process.once:
            pause = RESTART_BACKOFF.seconds(failures) if failures else 0.0
            restart = f"restarting in {pause:g} s" if failures else "restarting"
            self._log_error(f"{instance.name} {problem}; {restart}")
            await asyncio.sleep(max(pause, started + MIN_INTERVAL_SECONDS - time.monotonic()))
            failures += 1
            started = time.monotonic()
            try:
                child = await self._start(instance)
            except OSError as error:
                problem = f"cannot be started: {error}"
            else:
                if await self._run_restarted(instance, child):
                    failures = 0
                problem = child.describe_exit()

    async def _run_restarted(self, instance: Instance, child: Child) -> bool:
        """Wait until a restarted process has exited. Return whether it was ready."""
        reporting = asyncio.create_task(self._report_ready(instance, child))
        try:
            await self._wait_for_exit(instance, child)
            return await reporting
        finally:
            reporting.cancel()

    async def _report_ready(self, instance: Instance, child: Child) -> bool:
        is_ready = instance.ready is not None and await child.wait_for(
            wait_until_ready(instance.ready, instance.process.proof_secret)
        )
        if is_ready:
            self._log(f"{instance.name} is ready again")
        return is_ready

    async def _wait_for_exit(self, instance: Instance, child: Child) -> None:
        """Wait until a process has exited. If it hangs, kill it."""
        liveness = instance.liveness
        if liveness and await child.wait_for(wait_until_silent(liveness, self._stack.max_start_seconds)):
            self._log_error(
                f"{instance.name} hangs and is killed: no response from {liveness.address} for "
                f"{liveness.max_silence_seconds:g} s"
            )
            child.send_signal(signal.SIGKILL)
        await asyncio.shield(child.exited)

    async def _maintain(self) -> None:
        """Replace the watchdog and the scratch folder if necessary, and write the summaries of repeated lines."""
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            self._logs.summarize_repeated()
            self._replace_scratch_folder()
            try:
                if self._watchdog.replace_ended():
                    self._log_error("the watchdog has stopped; starting a new one")
            except OSError as error:
                self._log_error(f"the watchdog has stopped and a new one cannot be started: {error}; trying again")

    def _replace_scratch_folder(self) -> None:
        """If the scratch folder was deleted, create it and restart all processes: their sockets were in it.

        With the default `RemoveIPC=yes`, systemd deletes the files of a user in /dev/shm when the user logs out.
        """
        folder = self._stack.scratch_folder
        if folder is None or is_private(folder):
            return
        try:
            create_empty(folder)
        except PreflightError as error:
            self._log_error(str(error))
            return
        self._log_error(f"the scratch folder {folder} was deleted; restarting all processes")
        for child in self._children.values():
            if not child.exited.done():
                child.send_signal(signal.SIGTERM)

    async def _start_first(self, instance: Instance) -> Child:
        """Start an instance and wait until it is ready. Raises `StartError`."""
        once = instance.process.once
        try:
            child = await self._start(instance)
        except OSError as error:
            raise StartError(f"{instance.name} cannot be started: {error}") from error
        try:
            async with asyncio.timeout(self._stack.max_start_seconds):
                if instance.ready is not None:
                    await child.wait_for(wait_until_ready(instance.ready, instance.process.proof_secret))
                if once:
                    await asyncio.shield(child.exited)
        except TimeoutError:
            condition = instance.ready or "it to exit"
            problem = f"is not ready: waited {self._stack.max_start_seconds:g} s for {condition}"
            raise StartError(_with_last_lines(child, problem)) from None
        if child.exited.done() and not (once and child.exited.result() == 0):
            raise StartError(_with_last_lines(child, f"{child.describe_exit()} during its start"))
        return child

    async def _start(self, instance: Instance) -> Child:
        """Start an instance. Raises `OSError`."""
        self._check_data_folder(instance)
        write = partial(self._logs.write, instance.name)
        environment = instance.process.environment | {PIPE_VARIABLE: str(self._guard_pipe[0])}
        descriptors = [*self._inherited, *(opened.fileno() for opened in instance.sockets)]
        return self._register(await Child.start(instance.name, instance.command, environment, write, descriptors))

    def _check_data_folder(self, instance: Instance) -> None:
        """Raise `OSError` if a command with a path in the data folder would find another folder.

        The folder was moved or deleted, or its disk was unmounted. The process would start with an empty data folder,
        which has no keys, and refuse the requests of all clients for a reason that no retry can fix.
        """
        folder = self._stack.data_folder
        if folder is None or self._data_folder is None:
            return
        uses_folder = any(Path(word).is_relative_to(folder) for word in instance.command)
        if uses_folder and not (folder.exists() and os.path.samestat(folder.stat(), os.fstat(self._data_folder))):
            raise FileNotFoundError(f"the data folder {folder} was moved, deleted or unmounted: put it back")

    def _register(self, child: Child) -> Child:
        self._watchdog.watch(child.group)
        child.exited.add_done_callback(lambda _: self._watchdog.unwatch(child.group))
        self._children[child.name] = child
        return child

    async def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        groups = self._running_groups()
        for number, group in enumerate(groups):
            for child in group:
                child.send_signal(signal.SIGTERM)
            share = (deadline - time.monotonic()) / (len(groups) - number)
            await asyncio.wait([child.exited for child in group], timeout=share)
        late = [child for group in groups for child in group if not child.exited.done()]
        for child in late:
            self._log_error(f"{child.name} did not stop in time and is killed")
            child.send_signal(signal.SIGKILL)
        if late:
            await asyncio.wait([child.exited for child in late], timeout=KILL_SECONDS)

    def _running_groups(self) -> list[list[Child]]:
        """Return the running instances of each process, in stop order."""
        names = [[each.name for each in self._instances if each.process is one] for one in self._stack.processes]
        started = [[self._children[name] for name in group if name in self._children] for group in (*names, [GREETING])]
        running = [[child for child in group if not child.exited.done()] for group in reversed(started)]
        return [group for group in running if group]

    def _log(self, text: str) -> None:
        self._logs.write("stack", text)

    def _log_error(self, text: str) -> None:
        self._logs.write_error("stack", text)


def _with_last_lines(child: Child, problem: str) -> str:
    lines = textwrap.indent("\n".join(map(message_of, child.last_lines)), "    ")
    return f"{child.name} {problem}" + (f"; its last lines:\n{lines}" if lines else "; it printed nothing")


async def _cancel(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

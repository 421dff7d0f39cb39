"""Tasks that concurrent requests share."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import partial

import pytest

from runtime.shared_tasks import SharedTasks
from tests.reported_errors import reported_errors
from tests.stack import PATIENCE_SECONDS


class Work:
    """Work that ends when the test says so."""

    def __init__(self) -> None:
        self.starts = 0
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def do(self) -> str:
        """Wait for the outcome."""
        self.starts += 1
        return await self.outcome


async def begin(tasks: SharedTasks[str, str], start: Callable[[], Coroutine[None, None, str]]) -> "asyncio.Task[str]":
    """Return a caller that waits for the task with the key `a`."""
    caller = asyncio.create_task(tasks.run("a", start))
    for _ in range(3):
        await asyncio.sleep(0)
    return caller


async def test_concurrent_callers_share_one_task_and_a_later_one_starts_another() -> None:
    """A result is never reused after its task has ended."""
    tasks, work = SharedTasks[str, str](), Work()
    callers = [await begin(tasks, work.do) for _ in range(3)]
    work.outcome.set_result("done")

    assert await asyncio.gather(*callers) == ["done"] * 3
    assert work.starts == 1
    assert await tasks.run("a", work.do) == "done"
    assert work.starts == 2


async def test_a_task_that_has_just_ended_is_not_shared() -> None:
    """Otherwise a caller that repeats its call gets the same result at once, and blocks the event loop forever."""
    tasks, later = SharedTasks[str, str](), Work()
    suspended = []

    def join() -> None:
        caller = tasks.run("a", later.do)
        caller.send(None)  # raises `StopIteration` if the call returns without waiting
        suspended.append(caller)

    async def work() -> str:
        asyncio.get_running_loop().call_soon(join)  # runs before the callbacks of the task, which has ended then
        return "done"

    assert await tasks.run("a", work) == "done"
    assert len(suspended) == 1
    suspended[0].close()
    await tasks.cancel()


@pytest.mark.parametrize(("shared_seconds", "starts"), [(0.0, 3), (1_000.0, 1)])
async def test_the_work_starts_again_when_its_result_is_not_recent(shared_seconds: float, starts: int) -> None:
    """An error counts as a result."""
    tasks, work = SharedTasks[str, str](shared_seconds=shared_seconds), Work()
    work.outcome.set_exception(ValueError("broken"))

    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            await tasks.run("a", work.do)

    assert work.starts == starts


async def test_a_result_that_is_too_old_is_not_kept_in_memory() -> None:
    """There can be very many keys."""
    tasks, work = SharedTasks[str, object](shared_seconds=0.001), Work()
    work.outcome.set_result("done")

    async def create() -> object:
        await work.do()
        return Work()

    released = asyncio.Event()
    weakref.finalize(await tasks.run("a", create), released.set)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await released.wait()


async def test_a_cancelled_caller_does_not_end_the_task_of_the_others() -> None:
    """The first caller has started the task."""
    tasks, work = SharedTasks[str, str](), Work()
    first, second = await begin(tasks, work.do), await begin(tasks, work.do)
    first.cancel()
    await asyncio.wait({first})
    work.outcome.set_result("done")

    assert await second == "done"


async def test_an_error_is_raised_for_each_caller_and_not_kept() -> None:
    """The next caller tries again."""
    tasks, failing, work = SharedTasks[str, str](), Work(), Work()
    callers = [await begin(tasks, failing.do) for _ in range(2)]
    failing.outcome.set_exception(ValueError("broken"))
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    work.outcome.set_result("done")

    assert [str(outcome) for outcome in outcomes] == ["broken"] * 2
    assert await tasks.run("a", work.do) == "done"


async def test_a_task_that_needs_callers_ends_with_its_last_caller() -> None:
    """The next caller starts another task."""
    tasks, work, later = SharedTasks[str, str](end_without_callers=True), Work(), Work()
    first, second = await begin(tasks, work.do), await begin(tasks, work.do)
    first.cancel()
    await asyncio.wait({first})
    assert not work.outcome.cancelled()

    second.cancel()
    await asyncio.wait({second})
    third = await begin(tasks, later.do)
    assert work.outcome.cancelled()
    later.outcome.set_result("done")

    assert await third == "done"
    assert (work.starts, later.starts) == (1, 1)


async def test_an_error_that_no_caller_waits_for_is_not_reported() -> None:
    """All callers were cancelled before the task failed."""
    gc.collect()  # the event loop also reports tasks that earlier tests have left
    with reported_errors() as reported:
        tasks, work = SharedTasks[str, str](), Work()
        caller = await begin(tasks, work.do)
        caller.cancel()
        await asyncio.wait({caller})
        del caller
        work.outcome.set_exception(ValueError("broken"))
        for _ in range(3):
            await asyncio.sleep(0)
        del work
        gc.collect()

    assert reported == []


async def test_an_error_leaves_no_reference_cycle() -> None:
    """Each invalid document would otherwise stay in memory until the next garbage collection, which is rare."""

    class Document:
        """What the task works on."""

    async def fail(document: Document) -> str:
        raise ValueError(document)

    document = Document()
    released = weakref.ref(document)
    gc.disable()
    try:
        with pytest.raises(ValueError, match="Document"):
            await SharedTasks[str, str]().run("a", partial(fail, document))
        del document
        await asyncio.sleep(0)

        assert released() is None
    finally:
        gc.enable()


async def test_a_replaced_task_ends_without_its_key() -> None:
    """Its callers still get its result, but the next caller starts a task of its own."""
    tasks, old, new = SharedTasks[str, str](), Work(), Work()
    currents: list[bool] = []

    async def read(work: Work) -> str:
        outcome = await work.do()
        currents.append(tasks.is_current("a"))
        return outcome

    first = await begin(tasks, lambda: read(old))
    tasks.invalidate("a")
    second = await begin(tasks, lambda: read(new))
    old.outcome.set_result("old")
    assert await first == "old"
    third = await begin(tasks, lambda: read(new))
    new.outcome.set_result("new")

    assert list(await asyncio.gather(second, third)) == ["new", "new"]
    assert (currents, new.starts) == ([False, True], 1)


async def test_a_task_runs_in_the_context_of_the_request_that_started_it() -> None:
    """The id of this request is then in the log lines of the task, for example in the reason of a refusal."""
    request = ContextVar("request", default="none")
    tasks, work = SharedTasks[str, str](), Work()

    async def read() -> str:
        await work.do()
        return request.get()

    callers = []
    for name in ("first", "second"):
        request.set(name)
        callers.append(await begin(tasks, read))
    work.outcome.set_result("done")

    assert list(await asyncio.gather(*callers)) == ["first", "first"]


async def test_cancel_ends_the_tasks() -> None:
    """No read continues after the shutdown."""
    tasks, work = SharedTasks[str, str](), Work()
    has_ended = False

    async def read() -> str:
        nonlocal has_ended
        try:
            return await work.do()
        finally:
            await asyncio.sleep(0)
            has_ended = True

    caller = await begin(tasks, read)
    await tasks.cancel()

    assert has_ended
    with pytest.raises(asyncio.CancelledError):
        await caller

"""A process gives memory back, and collects garbage only when that is likely to free memory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.embedded import jemalloc
from infra.embedded.stack_file import reader

PROLOGUE = """
import asyncio, gc, threading, time, psutil
from runtime import memory_release

class Cycle:
    def __init__(self):
        self.self, self.text = self, "x" * 200

def memory():
    return psutil.Process().memory_info().rss

full = []
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)

def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(1000))

async def wait_until_given_back(at_start, grown):
    # Most of the memory by which the process has grown.
    while memory() > at_start + (grown - at_start) / 4:
        await asyncio.sleep(0.05)
    print("given back", grown > 1.5 * at_start)

released = 0

async def release_caches():
    global released
    released += 1

async def main():
    memory_release.configure(20_000)
    at_start = memory()
    full.clear()
    releasing = asyncio.create_task(memory_release.release_memory(release_caches, seconds=0.2))
    await asyncio.sleep(0)
    await check(at_start)
    releasing.cancel()
"""


STACK_SETTING = reader.read(Path("infra/embedded/stack.toml"), os.environ).environment.get("MALLOC_ARENA_MAX", "")
IMAGE_SETTING = "".join(re.findall(r"MALLOC_ARENA_MAX=(\w+)", Path("infra/container/Dockerfile").read_text()))


def run(check: str, **environment: str) -> str:
    """Run a check in a process of its own, with further environment variables; return what it prints."""
    script = f"{PROLOGUE}\nasync def check(at_start):\n{check}\nasyncio.run(main())"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=os.environ | environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only the C library of Linux gives memory back on request")
def test_memory_of_reference_cycles_is_given_back() -> None:
    """The young collections do not find them, because they live too long."""
    output = run("""
    cycles = [Cycle() for _ in range(200_000)]
    grown = memory()
    work(1)
    del cycles
    await wait_until_given_back(at_start, grown)
""")

    assert output == "given back True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only the C library of Linux gives memory back on request")
def test_memory_around_the_names_of_attributes_is_given_back() -> None:
    """Python remembers the names that it looked up last. Each of them holds 1 MiB, with all that was freed there."""
    output = run("""
    lists = []
    for number in range(4_000):
        getattr(Cycle, f"attribute{number}", None)
        lists.append([[] for _ in range(500)])
    grown = memory()
    lists.clear()
    await wait_until_given_back(at_start, grown)
""")

    assert output == "given back True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only the C library of Linux gives memory back on request")
def test_memory_around_awaited_futures_is_given_back() -> None:
    """asyncio keeps the iterators of some hundred futures that were awaited. Each of them holds 1 MiB."""
    output = run("""
    future = asyncio.get_running_loop().create_future()
    lists, iterators = [], []
    for number in range(250):
        iterators.append(iter(future))
        lists.append([iter(()) for _ in range(8_000)])
    grown = memory()
    lists.clear()
    iterators.clear()
    await wait_until_given_back(at_start, grown)
""")

    assert output == "given back True\n"


@pytest.mark.skipif(
    not jemalloc.environment_variables({}), reason="jemalloc is a library of the system, and not installed"
)
def test_single_objects_hold_little_memory_with_jemalloc() -> None:
    """With Python's own allocator, each of them holds 1 MiB."""
    output = run(
        """
    lists = [[number] for number in range(1_000_000)]
    grown = memory()
    kept = lists[::10_000]
    lists.clear()
    await wait_until_given_back(at_start, grown)
""",
        **jemalloc.environment_variables({}),
    )

    assert output == "given back True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only the C library of Linux has heaps of threads")
@pytest.mark.parametrize("setting", [STACK_SETTING, IMAGE_SETTING])
def test_memory_that_other_threads_have_used_is_given_back(setting: str) -> None:
    """The setting of the stack, and of the image. Without it, each of these threads keeps 15 MiB."""
    output = run(
        """
    all_done = threading.Barrier(5)
    def allocate():
        for _ in range(3):
            bytes(bytearray(8_000_000))
        all_done.wait()
        all_done.wait()
    threads = [threading.Thread(target=allocate) for _ in range(4)]
    for thread in threads:
        thread.start()
    all_done.wait()
    memory_release._malloc_trim()(0)
    print("given back", memory() - at_start < 10_000_000)
    all_done.wait()
""",
        MALLOC_ARENA_MAX=setting,
    )

    assert output == "given back True\n"


def test_caches_are_released_once_when_the_process_is_idle_after_work() -> None:
    """A busy process needs its caches."""
    output = run("""
    kept = [[number] for number in range(1_000_000)]
    for _ in range(40):
        work(0.02)
        await asyncio.sleep(0)
    print(released)
    while not released:
        await asyncio.sleep(0.05)
    for _ in range(10):
        await asyncio.sleep(0.1)
    print(released)
""")

    assert output == "0\n1\n"


def test_a_busy_process_that_does_not_grow_is_not_collected_again() -> None:
    """A full collection stops everything else while it visits all objects."""
    output = run("""
    memory_release._MIN_PAUSE_RATIO = 0
    objects = [[number] for number in range(300_000)]
    for _ in range(60):
        work(0.02)
        await asyncio.sleep(0)
    print(len(full) // 2)
""")

    assert int(output) <= 1

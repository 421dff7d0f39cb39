"""Ctrl-C ends a command: without a traceback, and also while the command reads a file or its terminal."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 130


@contextlib.contextmanager
def ends_command() -> Iterator[None]:
    """Exit with the code 130 if Ctrl-C interrupts the block.

    asyncio.run replaces the default handler of SIGINT, but no other one. Its handler cancels a task, which has no
    effect while the task does not await.
    """
    handler = signal.getsignal(signal.SIGINT)
    # A background shell ignores SIGINT. Threads cannot set handlers, and Ctrl-C does not interrupt them.
    is_replaced = handler is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if is_replaced:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(EXIT_CODE)
    finally:
        if is_replaced:
            signal.signal(signal.SIGINT, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

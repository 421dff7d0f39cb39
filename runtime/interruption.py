"""What ends a command early: Ctrl-C, or that the reader of its output has exited. No command prints a traceback then.

Ctrl-C ends a command also while it reads a file or its terminal.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from runtime import standard_streams

EXIT_CODE = 130
BROKEN_PIPE_EXIT_CODE = 141  # as of a command that SIGPIPE ends


@contextlib.contextmanager
def ends_command() -> Iterator[None]:
    """Exit with the code 130 if Ctrl-C interrupts the block, or with 141 if nothing reads its output any more.

    Standard streams that are closed become `/dev/null`.

    asyncio.run replaces the default handler of SIGINT, but no other one. Its handler cancels a task, which has no
    effect while the task does not await.
    """
    standard_streams.open_closed()
    handler = signal.getsignal(signal.SIGINT)
    # A background shell ignores SIGINT. Threads cannot set handlers, and Ctrl-C does not interrupt them.
    is_replaced = handler is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if is_replaced:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not standard_streams.has_no_reader():  # it is the error of a connection
            raise
        standard_streams.discard_output()
        sys.exit(BROKEN_PIPE_EXIT_CODE)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(EXIT_CODE)
    finally:
        if is_replaced:
            signal.signal(signal.SIGINT, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

"""The allocator jemalloc: whether the processes of the stack can use it."""

import subprocess
import sys
from collections.abc import Mapping
from ctypes.util import find_library


def find() -> str | None:
    """Return the file name of the library, or None if it is not installed. Only Linux loads it on request."""
    return find_library("jemalloc") if sys.platform == "linux" else None


def works(environment: Mapping[str, str]) -> bool:
    """Return whether Python starts with these variables, without a message.

    The library can be built for another page size. The loader can also search other folders than `find`.
    """
    ended = subprocess.run([sys.executable, "-c", ""], env=environment, check=False, capture_output=True)
    return ended.returncode == 0 and not ended.stderr

"""The allocator jemalloc, for all processes of the stack.

Python's own allocator and the C library return memory in large pieces, so a single object can keep a piece in use.
jemalloc returns free memory after two seconds, and needs no more CPU time (measurements: docs/measurements/attacks.md).
"""

import subprocess
import sys
from collections.abc import Mapping
from ctypes.util import find_library

_OPTIONS = {
    "PYTHONMALLOC": "malloc",  # Python uses jemalloc for all objects
    "MALLOC_CONF": "narenas:1,background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0",
}
VARIABLES = ("LD_PRELOAD", *_OPTIONS)


def environment_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that select jemalloc. Return none if it is not installed, or if one of them is set.

    Only Linux loads the library on request. Raises `OSError` if Python does not start with the library.
    """
    library = find_library("jemalloc") if sys.platform == "linux" else None
    if library is None or not environ.keys().isdisjoint(VARIABLES):
        return {}
    variables = {"LD_PRELOAD": library, **_OPTIONS}
    check = subprocess.run(
        [sys.executable, "-c", ""], env={**environ, **variables}, check=False, capture_output=True, text=True
    )
    if check.returncode != 0 or check.stderr:  # for example a library that is built for another page size
        raise OSError(check.stderr.strip() or f"Python exited with code {check.returncode}")
    return variables

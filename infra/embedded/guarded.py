"""Run a module, and exit when the supervisor has stopped: `python -m infra.embedded.guarded -m MODULE ...`.

If the supervisor is killed, the watchdog stops all processes. If the watchdog is killed too, each guarded process exits
by itself. A guarded process inherits the read end of a pipe. Only the supervisor holds the write end, so the end of the
pipe means that the supervisor has stopped, on Linux and on macOS. A thread waits for the end of the pipe. The kernel
wakes the thread, so waiting needs no CPU time.

The module runs in this process, so a process of the stack remains one process of the system.
"""

import os
import runpy
import signal
import sys
import threading
import time

PIPE_VARIABLE = "SUPERVISOR_PIPE"
"""The environment variable that holds the descriptor of the read end."""

GRACE_SECONDS = 3.0  # the watchdog kills a process group earlier, if the watchdog still runs


def main() -> None:
    """Start the guard, then run the module as `python -m` does."""
    if sys.argv[1:2] != ["-m"] or len(sys.argv) < 3:
        sys.exit("usage: python -m infra.embedded.guarded -m MODULE [ARGUMENT ...]")
    pipe = os.environ.pop(PIPE_VARIABLE, None)
    if pipe is not None:
        os.set_inheritable(int(pipe), False)
        threading.Thread(target=_end_with_supervisor, args=(int(pipe),), name="guard", daemon=True).start()
    module = sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_supervisor(pipe: int) -> None:
    os.read(pipe, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)  # the supervisor starts each process as the leader of its own group


if __name__ == "__main__":
    main()

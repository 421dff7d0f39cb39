"""Run the whole stack under steady load for a long time: `make soak OPTIONS="--minutes 60"`.

The maximum rate is measured first; the load is 60 % of it. With chaos, one process is killed at each interval, in turn.
At the end, every acknowledged sample must have a result and pass `triggers.verify`, the memory must not have grown, and
the idle stack must not have more open files than before the load. The data file can grow by 8 KiB for each sample.
The table goes to standard output, each measurement to standard error, and `--plot` writes a plot.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.measurements import (
    HEADER,
    PROCESSES,
    Measurement,
    backlog,
    file_growth,
    long_log,
    measure,
    memory_leaks,
    open_file_leaks,
)
from tests.soak.plot import plot
from tests.soak.submitters import Submitters
from tests.stack import Stack, eventually

SHARE = 0.6
CALIBRATION_SECONDS = 20.0
INTERVAL_SECONDS = 5.0
DRAIN_SECONDS = 600.0
IDLE_SECONDS = 30.0
"""After this time without load, all processes have closed their idle connections."""


def calibrate(stack: Stack) -> float:
    """Return the rate, in samples a second, at which the stack stores and computes."""
    submitters = Submitters(stack, 0)
    started = time.monotonic()
    time.sleep(CALIBRATION_SECONDS)
    submitters.stop()
    drain(stack)
    return submitters.acknowledged / (time.monotonic() - started)


def drain(stack: Stack) -> None:
    """Wait until all events are delivered."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while (now := measure(stack.url, 0, 0, 0, ())) is None or now.pending != 0:
        assert time.monotonic() < deadline, f"{now and now.pending} events are still pending"
        time.sleep(1)


def measure_idle(stack: Stack) -> Measurement:
    """Return a measurement of the stack without load."""
    drain(stack)
    time.sleep(IDLE_SECONDS)
    measured = measure(stack.url, 0, 0, 0, ())
    assert measured is not None, "the API does not respond"
    assert measured.open_files.keys() == set(PROCESSES), f"only these respond: {', '.join(measured.open_files)}"
    return measured


def kill_one(stack: Stack, turn: int) -> None:
    """Kill the API, the function or Firestore. The supervisor restarts it."""
    find = (stack.function_pid, stack.firestore_pid, stack.api_pid)[turn % 3]
    try:
        os.kill(find(), signal.SIGKILL)
    except (LookupError, IndexError, ProcessLookupError):
        return  # it restarts now


def soak(stack: Stack, rate: float, minutes: float, chaos_minutes: float) -> tuple[int, list[Measurement]]:
    """Return the number of acknowledged samples and the measurements."""
    submitters = Submitters(stack, rate)
    measurements: list[Measurement] = []
    started, kills = time.monotonic(), 0
    try:
        while (minute := (time.monotonic() - started) / 60) < minutes:
            time.sleep(INTERVAL_SECONDS)
            if chaos_minutes and minute > (kills + 1) * chaos_minutes:
                kill_one(stack, kills)
                kills += 1
            durations = [submitters.durations.popleft() for _ in range(len(submitters.durations))]
            now = measure(stack.url, minute, submitters.acknowledged, submitters.retries, durations)
            if now is not None:
                measurements.append(now)
                sys.stderr.write(f"{now.row()}\n")
    finally:
        submitters.stop()
    return submitters.acknowledged, measurements


def verify(stack: Stack) -> str:
    """Return the last line of `triggers.verify`. Raises an error if it finds problems."""
    environment = stack.environment | stack.firestore_environment
    command = [sys.executable, "-m", "triggers.verify", "--submitter", "local"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr.strip()


def main() -> int:
    """Run the soak and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="duration of the load (default: %(default)s)")
    parser.add_argument("--chaos-minutes", type=float, default=5.0, help="interval of kills; 0: none (default: 5)")
    parser.add_argument("--rows", type=int, default=12, help="rows of the table (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="file of the plot, as SVG (default: none)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        eventually(lambda: "everything is ready" in stack.log, lambda: stack.log)
        rate = SHARE * calibrate(stack)
        idle = measure_idle(stack)
        acknowledged, measurements = soak(stack, rate, options.minutes, options.chaos_minutes)
        # The verification of an hour takes many minutes, and what was measured must not depend on it.
        if options.plot is not None:
            options.plot.write_text(plot(measurements))
        step = max(1, -(-len(measurements) // options.rows))
        print(f"{rate:.0f} samples a second, {SHARE:.0%} of the maximum; {acknowledged:,} acknowledged\n")
        print(HEADER, *(each.row() for each in measurements[step - 1 :: step]), sep="\n", flush=True)
        problems = [*long_log(measurements), *file_growth(measurements)]
        problems += backlog(measurements, rate) or memory_leaks(measurements)
        problems += open_file_leaks(idle, measure_idle(stack))
        verified = verify(stack)
    print(f"\n{verified}", *problems, sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

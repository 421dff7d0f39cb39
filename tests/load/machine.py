"""The machine: its processors, which process runs where, and the description above a table.

Note: a measurement of one core requires processor affinity, which only Linux offers. On other systems all processes
run on all processors, and the table says so.
"""

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

Processors = frozenset[int]
PLACES = hasattr(os, "sched_setaffinity")
LOOK_SECONDS = 3.0
MAX_USED = 0.1
MAX_STOLEN = 0.02


@dataclass(frozen=True, slots=True)
class Placement:
    """Which process runs where: `one` for the measured process, `other` for all others."""

    one: Processors
    other: Processors

    @property
    def both(self) -> Processors:
        """Both processors."""
        return self.one | self.other

    def __str__(self) -> str:
        """Return the placement as a sentence."""
        if not self.one:
            return "no placement: this system cannot bind processes to processors, or has only one"
        one, other = min(self.one), min(self.other)
        return f"API on processor {one}, everything else on processor {other}, unless a row says otherwise"


def placement() -> Placement:
    """Return two of the processors that this process may use."""
    allowed = sorted(os.sched_getaffinity(0)) if PLACES else []
    if len(allowed) < 2:
        return Placement(frozenset(), frozenset())
    return Placement(frozenset(allowed[:1]), frozenset(allowed[1:2]))


def place(pid: int, processors: Processors) -> None:
    """Bind all threads of a process to some processors. No processors: change nothing."""
    if not processors:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


def place_this(processors: Processors) -> None:
    """Bind this process and the processes that it starts later."""
    if processors:
        place(os.getpid(), processors)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    if not Path("/proc").is_dir():
        shown = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], check=True, capture_output=True, text=True)
        parts = [float(part) for part in shown.stdout.strip().replace("-", ":").split(":")]
        return sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600, 86_400), strict=False))
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
    return int(shown.stdout) * 1024


def forget_peak(pid: int) -> None:
    """Reset the peak resident memory of a process."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """Return the peak resident memory of a process in bytes since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("this system does not report the peak memory of a process")


def describe() -> list[str]:
    """Return the description of the machine."""
    system = f"{platform.system()} {platform.release()}"
    return [
        f"{_processor()}, {os.cpu_count()} processors, {_memory_gib():.0f} GiB, {system}",
        f"Python {platform.python_version()}; {_version('node', '--version')}; {_version('wrk', '--version')}",
    ]


@dataclass(frozen=True, slots=True)
class Activity:
    """What the machine did before or after a run: the load average, and the use of its processors for some seconds."""

    load: tuple[float, float, float]
    used: float
    """The share of all CPU time that other processes used, including time that the hypervisor took away."""

    @classmethod
    def look(cls, seconds: float = LOOK_SECONDS) -> "Activity":
        """Observe the machine for some seconds, in which this process does nothing."""
        load = os.getloadavg()
        before = _processor_time()
        time.sleep(seconds)
        return cls(load, before.used_until(_processor_time()))

    @property
    def is_high(self) -> bool:
        """Whether figures of this time say little."""
        return self.used > MAX_USED

    def __str__(self) -> str:
        """Return the activity for the lines above a table."""
        return f"load average {' '.join(f'{load:.1f}' for load in self.load)}, processors {self.used:.0%} busy"


@dataclass(frozen=True, slots=True)
class Stolen:
    """The share of the CPU time that the hypervisor gave to other machines since `start`."""

    start: "_ProcessorTime"

    @classmethod
    def since_now(cls) -> "Stolen":
        """Start now."""
        return cls(_processor_time())

    def share(self) -> float:
        """Return the share until now."""
        return self.start.stolen_until(_processor_time())


@dataclass(frozen=True, slots=True)
class _ProcessorTime:
    """The time of all processors since the start of the machine, in ticks. It is 0 where the system does not tell."""

    all: int = 0
    idle: int = 0
    stolen: int = 0

    def used_until(self, later: "_ProcessorTime") -> float:
        return 1 - (later.idle - self.idle) / (later.all - self.all) if later.all > self.all else 0.0

    def stolen_until(self, later: "_ProcessorTime") -> float:
        return (later.stolen - self.stolen) / (later.all - self.all) if later.all > self.all else 0.0


def _processor_time() -> _ProcessorTime:
    times = Path("/proc/stat")
    if not times.is_file():
        return _ProcessorTime()
    # user, nice, system, idle, iowait, irq, softirq, steal; the rest is part of the first two
    ticks = [int(word) for word in times.read_text().split("\n", 1)[0].split()[1:9]]
    return _ProcessorTime(sum(ticks), ticks[3] + ticks[4], ticks[7])


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _version(program: str, option: str) -> str:
    try:
        shown = subprocess.run([program, option], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{program} is not installed"
    first = (shown.stdout or shown.stderr).splitlines()[0]
    return f"{program} {first.removeprefix(program).partition('Copyright')[0].strip()}"

"""The machine: which processors there are, who runs where, and what to say of it under a table.

The trap: a measurement of one core is one only where the kernel can be told so. Linux can (what `taskset`
does); elsewhere everything runs on all processors and the table says that.
"""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

Processors = frozenset[int]
PLACES = hasattr(os, "sched_setaffinity")


@dataclass(frozen=True, slots=True)
class Placement:
    """Who runs where. `one` is for what is measured alone, `other` for everything else."""

    one: Processors
    other: Processors

    @property
    def both(self) -> Processors:
        """The two together."""
        return self.one | self.other

    def __str__(self) -> str:
        """Say it in a sentence."""
        if not self.one:
            return "no placement: this system cannot bind processes to processors, or has only one"
        one, other = min(self.one), min(self.other)
        return f"API on processor {one}, everything else on processor {other}, unless a row says otherwise"


def placement() -> Placement:
    """Take two of the processors that this process may use, whatever else there is."""
    allowed = sorted(os.sched_getaffinity(0)) if PLACES else []
    if len(allowed) < 2:
        return Placement(frozenset(), frozenset())
    return Placement(frozenset(allowed[:1]), frozenset(allowed[1:2]))


def place(pid: int, processors: Processors) -> None:
    """Bind a process, with every thread that it has, to some processors; no processors: leave it alone."""
    if not processors:
        return
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)


def place_this(processors: Processors) -> None:
    """Bind this process, and those that it will start unless they are placed."""
    if processors:
        place(os.getpid(), processors)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    if not Path("/proc").is_dir():
        shown = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], check=True, capture_output=True, text=True)
        parts = [float(part) for part in shown.stdout.strip().replace("-", ":").split(":")]
        return sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600, 86_400), strict=False))
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds now."""
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True, text=True)
    return int(shown.stdout) * 1024


def forget_peak(pid: int) -> None:
    """Begin anew to note the most memory that a process holds."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has held since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("this system does not tell the peak of a process's memory")


def describe() -> list[str]:
    """Return what a reader must know of the machine."""
    system = f"{platform.system()} {platform.release()}"
    return [
        f"{_processor()}, {os.cpu_count()} processors, {_memory_gib():.0f} GiB, {system}",
        f"Python {platform.python_version()}; {_version('node', '--version')}; {_version('wrk', '--version')}",
    ]


def load() -> str:
    """Return how busy the machine is, others' share included: to be noted with every table."""
    return "load average " + " ".join(f"{load:.1f}" for load in os.getloadavg())


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

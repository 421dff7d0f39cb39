"""What a soak measures every few seconds, and the table that it prints."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

MIB = 2**20
PROCESSES = ("api", "function", "firestore")
MAX_GROWTH = 1.2
"""The largest ratio of the least memory in the last quarter to that in the second quarter, and of open files at the end
to those before the load."""

MAX_PENDING_SECONDS = 10
"""The events that may wait through the whole last quarter, in seconds of the load."""

MAX_SAMPLE_KIB = 8.0
"""What the data file may grow by for each sample of 100 values with its result. Measured: 5.7 to 7.8."""

MAX_WAL_MIB = 64 * 1.25
"""A quarter above the default of `DROPZONE_FIRESTORE_MAX_WAL_MIB`: the last commit may exceed it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The state of the stack at one time."""

    minute: float
    acknowledged: int
    retries: int
    median_seconds: float
    slowest_seconds: float
    memory: Mapping[str, float]
    """MiB by process."""
    open_files: Mapping[str, float]
    started: Mapping[str, float]
    """When each process was started, as Unix time."""
    file_mib: float | None
    """None for this and the following values if Firestore did not respond."""
    unused_mib: float | None
    """MiB in the data file that later data fills."""
    log_mib: float | None
    pending: float | None

    def row(self) -> str:
        """Return a row of the table."""
        cells = [
            f"{self.minute:.1f}",
            f"{self.acknowledged:,}",
            str(self.retries),
            f"{self.median_seconds * 1000:.0f} / {self.slowest_seconds * 1000:.0f}",
            " / ".join(_cell(self.memory.get(name)) for name in PROCESSES),
            " / ".join(_cell(self.open_files.get(name)) for name in PROCESSES),
            f"{_cell(self.file_mib)} ({_cell(self.unused_mib)}) + {_cell(self.log_mib)}",
            _cell(self.pending),
        ]
        return f"| {' | '.join(cells)} |"


HEADER = (
    "| minute | samples | retries | request, median / slowest, ms | memory of API / function / Firestore, MiB "
    "| open files | data file (unused) + WAL, MiB | pending |\n|---|---|---|---|---|---|---|---|"
)


def measure(url: str, minute: float, acknowledged: int, retries: int, durations: Sequence[float]) -> Measurement | None:
    """Return the measurement at `minute`, or None if the API does not respond now."""
    try:
        text = httpx.get(f"{url}/metrics", timeout=10).text
    except httpx.TransportError:
        return None
    values = {
        (sample.name, sample.labels.get("process", "api"), sample.labels.get("state", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    def by_process(name: str, unit: float = 1.0) -> dict[str, float]:
        return {each: values[name, each, ""] / unit for each in PROCESSES if (name, each, "") in values}

    waiting = [value for (name, _, state), value in values.items() if name == "eventarc_events" and state != "dead"]
    return Measurement(
        minute,
        acknowledged,
        retries,
        statistics.median(durations) if durations else 0.0,
        max(durations, default=0.0),
        by_process("process_resident_memory_bytes", MIB),
        by_process("process_open_fds"),
        by_process("process_start_time_seconds"),
        by_process("firestore_file_bytes", MIB).get("firestore"),
        by_process("firestore_file_unused_bytes", MIB).get("firestore"),
        by_process("firestore_log_bytes", MIB).get("firestore"),
        sum(waiting) if waiting else None,
    )


def _cell(value: float | None) -> str:
    """Return a value of the table; a hyphen if the process did not respond."""
    return "-" if value is None else f"{value:.0f}"


def memory_leaks(measurements: Sequence[Measurement]) -> list[str]:
    """Return a sentence for each process whose memory has grown from the second to the last quarter of the time.

    The time is that of the process that ran longest, because a process that was killed starts small again. The smallest
    value of each quarter counts.
    """
    found = []
    for name in PROCESSES:
        longest = _longest_life(measurements, name)
        quarter = len(longest) // 4
        if not quarter:
            continue
        before, after = (
            min(each.memory[name] for each in part) for part in (longest[quarter : 2 * quarter], longest[-quarter:])
        )
        if after > before * MAX_GROWTH + 5:
            found.append(f"memory of {name} grew from {before:.0f} to {after:.0f}")
    return found


def open_file_leaks(before: Measurement, after: Measurement) -> list[str]:
    """Return a sentence for each process that has more open files after the load than before it.

    Both measurements are of an idle stack. Under load, each event that waits for the function has a connection.
    """
    return [
        f"open files of {name} grew from {before.open_files[name]:.0f} to {after.open_files[name]:.0f}"
        for name in PROCESSES
        if after.open_files[name] > before.open_files[name] * MAX_GROWTH + 5
    ]


def backlog(measurements: Sequence[Measurement], rate: float) -> list[str]:
    """Return a sentence if the stack was too slow for `rate`, in samples a second.

    Then the memory proves no leak, because events and their results wait in it.
    """
    last = [each.pending for each in measurements[-(len(measurements) // 4) :] if each.pending is not None]
    least = min(last, default=0.0)
    if least <= rate * MAX_PENDING_SECONDS:
        return []
    return [f"the machine was too slow for this load: at least {least:,.0f} events were pending in the last quarter"]


def _longest_life(measurements: Sequence[Measurement], name: str) -> Sequence[Measurement]:
    """Return the measurements of the process of this name that was measured most often."""
    lives: dict[float, list[Measurement]] = {}
    for each in measurements:
        if name in each.started:
            lives.setdefault(each.started[name], []).append(each)
    return max(lives.values(), key=len, default=[])


def long_log(measurements: Sequence[Measurement]) -> list[str]:
    """Return a sentence if the write-ahead log was longer than its setting allows."""
    longest = max((each.log_mib or 0.0 for each in measurements), default=0.0)
    return [f"the log of Firestore reached {longest:.0f} MiB"] if longest > MAX_WAL_MIB else []


def file_growth(measurements: Sequence[Measurement]) -> list[str]:
    """Return a sentence if the used part of the data file has grown too much per sample, in the second half.

    Versions are pruned after an hour, so the file has the replaced versions of the run too. A merge of index entries
    leaves its sources unused, and they can be a fifth of the file.
    """
    sizes = [
        (each.acknowledged, each.file_mib - each.unused_mib)
        for each in measurements
        if each.file_mib is not None and each.unused_mib is not None
    ]
    half = sizes[len(sizes) // 2 :]
    if len(half) < 2 or half[-1][0] == half[0][0]:
        return []
    (before, smaller), (after, larger) = half[0], half[-1]
    kib = (larger - smaller) * 1024 / (after - before)
    return [f"the used part of the data file grew by {kib:.1f} KiB for each sample"] if kib > MAX_SAMPLE_KIB else []

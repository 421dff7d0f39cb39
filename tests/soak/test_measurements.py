"""A soak fails if memory or open files grow, if the log is too long, or if the data file grows too much."""

from tests.soak.measurements import Measurement, backlog, file_growth, long_log, memory_leaks, open_file_leaks


def measured(memory: list[float], started: float = 1.0) -> list[Measurement]:
    """Return measurements of one process of the API, one a minute."""
    return [
        Measurement(minute, 0, 0, 0.0, 0.0, {"api": size}, {}, {"api": started}, 0, 0, 0, 0)
        for minute, size in enumerate(memory)
    ]


def idle(api: float, function: float, firestore: float) -> Measurement:
    """Return a measurement of the stack without load, with these numbers of open files."""
    files = {"api": api, "function": function, "firestore": firestore}
    return Measurement(0, 0, 0, 0.0, 0.0, {}, files, {}, 0, 0, 0, 0)


def test_memory_that_stays_the_same_after_the_start_is_no_leak() -> None:
    """The first quarter is the start: caches fill."""
    assert memory_leaks(measured([50, 100, 100, 102, 99, 100, 101, 100])) == []
    assert memory_leaks(measured([100, 100, 100, 100, 100, 100, 300, 100])) == []  # for a short time


def test_memory_that_grows_is_named() -> None:
    """With its process."""
    assert memory_leaks(measured([100.0 + 20 * n for n in range(8)])) == ["memory of api grew from 140 to 220"]


def test_growth_after_a_restart_is_no_leak() -> None:
    """The process that ran longest is compared with itself."""
    first, later = measured([150.0] * 8), measured([100.0 + 20 * n for n in range(8)])

    assert memory_leaks([*first, *measured([30, 50, 90, 140], started=2)]) == []
    assert memory_leaks([*measured([150.0] * 4, started=0), *later]) == ["memory of api grew from 140 to 220"]


def test_files_that_stay_open_after_the_load_are_named() -> None:
    """Each with its process. A few more files are allowed, because a restarted process opens some files later."""
    assert open_file_leaks(idle(20, 20, 30), idle(24, 22, 41)) == []
    assert open_file_leaks(idle(20, 20, 30), idle(30, 20, 100)) == [
        "open files of api grew from 20 to 30",
        "open files of firestore grew from 30 to 100",
    ]


def test_events_that_are_pending_all_the_time_are_named() -> None:
    """A few events always wait, and a kill makes many wait for a short time."""
    waits = [0.0, 5_000, 900, 5_000, 5_000, 5_000, 5_000, 900]
    kept, slow = (
        [Measurement(1, 0, 0, 0.0, 0.0, {}, {}, {}, 0, 0, 0, pending) for pending in pendings]
        for pendings in (waits, [*waits[:-2], 1_001, 5_000])
    )

    assert backlog(kept, rate=100) == []
    assert backlog(slow, rate=100) == [
        "the machine was too slow for this load: at least 1,001 events were pending in the last quarter"
    ]


def test_a_log_above_its_setting_is_named() -> None:
    """Also if it was long only once."""
    short, long = (Measurement(1, 0, 0, 0.0, 0.0, {}, {}, {}, 0, 0, log_mib, 0) for log_mib in (64, 250))

    assert long_log([short, short]) == []
    assert long_log([short, long, short]) == ["the log of Firestore reached 250 MiB"]


def test_a_data_file_that_grows_more_than_its_samples_is_named() -> None:
    """The first half does not count: until versions are old enough to be pruned, the file grows with them too.

    Unused space does not count either.
    """
    constant, growing = (
        [
            Measurement(minute, 1_024 * minute, 0, 0.0, 0.0, {}, {}, {}, size, unused, 0, 0)
            for minute, (size, unused) in enumerate([(0, 0), (50, 0), (100, 0), *sizes])
        ]
        for sizes in ([(108.0, 0.0), (None, None), (164.0, 40.0)], [(110.0, 0.0), (None, None), (128.0, 0.0)])
    )

    assert file_growth(constant) == []
    assert file_growth(growing) == ["the used part of the data file grew by 9.3 KiB for each sample"]
    assert file_growth(constant[:1]) == []


def test_a_process_that_does_not_respond_has_no_values_in_the_table() -> None:
    """Zero would look like a value."""
    row = Measurement(2.1, 18_320, 0, 0.051, 0.205, {"api": 75.0}, {"api": 29.0}, {}, None, None, None, None).row()

    assert row == "| 2.1 | 18,320 | 0 | 51 / 205 | 75 / - / - | 29 / - / - | - (-) + - | - |"

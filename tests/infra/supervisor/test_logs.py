"""The log writer: equal lines in a loop are summarized, all others are written."""

import io

from infra.embedded.logs import MAX_EQUAL_LINES, SUMMARY_SECONDS, Logs, Repetitions

FAILURE = "2026-11-27 11:38:10,{:03d} firestore ERROR the disk is full"


def test_a_line_in_a_loop_is_summarized() -> None:
    """A full disk wrote 21,928 equal lines in five minutes. The time at the start of a line does not count."""
    repetitions = Repetitions()

    written = [number for number in range(1_000) if repetitions.admit(FAILURE.format(number), 0.0)]
    early = repetitions.summarize(SUMMARY_SECONDS / 2)
    summary = repetitions.summarize(SUMMARY_SECONDS)

    assert written == list(range(MAX_EQUAL_LINES))
    assert early == []
    assert summary == [(FAILURE.format(999), 1_000 - MAX_EQUAL_LINES)]


def test_a_loop_that_continues_is_only_summarized() -> None:
    """After a period without the line, it is written again."""
    repetitions = Repetitions()
    for number in range(10):
        repetitions.admit(FAILURE.format(number), 0.0)
    repetitions.summarize(SUMMARY_SECONDS)

    continued = repetitions.admit(FAILURE.format(10), SUMMARY_SECONDS)
    summary = repetitions.summarize(2 * SUMMARY_SECONDS)
    repetitions.summarize(3 * SUMMARY_SECONDS)

    assert not continued
    assert summary == [(FAILURE.format(10), 1)]
    assert repetitions.admit(FAILURE.format(11), 3 * SUMMARY_SECONDS)


def test_lines_with_different_texts_are_written() -> None:
    """That includes those that alternate with a line in a loop."""
    repetitions = Repetitions()

    admitted = [repetitions.admit(f"sample {number}: FAILED", 0.0) for number in range(100)]

    assert all(admitted)


def test_many_different_lines_are_written_without_being_counted() -> None:
    """The memory of the supervisor does not grow with the output of its processes."""
    repetitions = Repetitions()

    admitted = [repetitions.admit(f"line {number}", 0.0) for number in range(5_000)]
    admitted += [repetitions.admit("line 4999", 0.0) for _ in range(100)]

    assert all(admitted)


def test_the_end_of_the_stack_writes_the_last_summary() -> None:
    """No line is lost without a word."""
    stream = io.StringIO()
    logs = Logs(stream, ["api"])

    for _ in range(20):
        logs.write("api", "again")
    logs.summarize_repeated(is_last=True)

    assert stream.getvalue() == "api | again\n" * MAX_EQUAL_LINES + "api | repeated 15 times: again\n"

"""`--limit` and `--all`: a list that is not complete says so."""

from datetime import UTC, datetime, timedelta

import pytest

from dropzone import Client, Receipt
from dropzone.command.options import DEFAULT_LIMIT
from tests.client.conftest import run
from tests.stack import Stack

START = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def keys(stack: Stack) -> dict[int, str]:
    """Return the keys of two submitters, by the numbers of their results: the default limit, and one more."""
    numbers = {number: stack.new_key(f"limit-{number}") for number in (DEFAULT_LIMIT, DEFAULT_LIMIT + 1)}
    for number, key in numbers.items():
        with Client(stack.url, key) as client:
            samples = ({"time_stamp": START + timedelta(hours=hour), "data": [hour]} for hour in range(number))
            receipts = [each for each in client.submit_many(samples) if isinstance(each, Receipt)]
            list(client.wait([receipt.id for receipt in receipts]))
    return numbers


@pytest.mark.parametrize("command", ["results", "samples"])
def test_a_note_says_that_the_default_limit_leaves_out_items(stack: Stack, keys: dict[int, str], command: str) -> None:
    """The output can be a file, which would look complete. A limit that the user has set needs no note."""
    note = f"note: only the first {DEFAULT_LIMIT} {command} are printed; for all, use --all\n"

    exact = run(stack, keys[DEFAULT_LIMIT], command)
    cut = run(stack, keys[DEFAULT_LIMIT + 1], command)
    limited = run(stack, keys[DEFAULT_LIMIT + 1], command, "--limit", "50")
    complete = run(stack, keys[DEFAULT_LIMIT + 1], command, "--all")
    refused = run(stack, keys[DEFAULT_LIMIT], command, "--all", "-n", "3")

    assert [ran.stderr for ran in (exact, cut, limited, complete)] == ["", note, "", ""]
    assert [len(ran.stdout.splitlines()) for ran in (exact, cut, limited, complete)] == [50, 50, 50, 51]
    assert cut.stdout == limited.stdout == "".join(complete.stdout.splitlines(keepends=True)[:50])
    assert refused.exit_code == 2

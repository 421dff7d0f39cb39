"""The arguments that the keys command refuses before it connects to Firestore."""

import pytest

from graphql_api.auth import keys


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the keys command with options that it refuses, in this process; return its message."""
    with pytest.raises(SystemExit) as ended:
        keys.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("days", ["nan", "inf", "-inf", "-1", "1e12", "ten", "", "٣", "1_0"])
def test_an_impossible_lifetime_is_refused(capsys: pytest.CaptureFixture[str], days: str) -> None:
    """The error names the allowed range."""
    message = refusal(capsys, "create", "--submitter", "a", f"--expires-in-days={days}")

    assert f"expected a number of days from 0 to 36,500, got '{days}'" in message


@pytest.mark.parametrize("count", ["0", "-1", "1e3", "٣", "9" * 5_000])
def test_an_impossible_limit_is_refused(capsys: pytest.CaptureFixture[str], count: str) -> None:
    """A number has ASCII digits."""
    message = refusal(capsys, "create", "--submitter", "a", f"--requests-per-second={count}")

    assert f"expected a whole number from 1 to 900,000,000, got '{count}'" in message


@pytest.mark.parametrize("count", ["0", "501", "99999"])
def test_more_entries_than_the_audit_log_returns_are_refused(capsys: pytest.CaptureFixture[str], count: str) -> None:
    """The output would otherwise look like the complete log. The API refuses the same numbers."""
    message = refusal(capsys, "audit", f"--first={count}")

    assert f"argument --first: expected a whole number from 1 to 500, got '{count}'" in message


@pytest.mark.parametrize("command", ["create", "ensure"])
@pytest.mark.parametrize("days", ["0", "1e-12"])
def test_a_lifetime_of_zero_days_is_refused(capsys: pytest.CaptureFixture[str], command: str, days: str) -> None:
    """The command printed a key that had expired. The API refuses this lifetime too."""
    message = refusal(capsys, command, "--submitter", "a", f"--expires-in-days={days}")

    assert "argument --expires-in-days: expected more than 0 days" in message


@pytest.mark.parametrize("label", ["two\nlines", "half of a character \udcff", "x" * 101])
def test_a_label_that_cannot_be_listed_is_refused(capsys: pytest.CaptureFixture[str], label: str) -> None:
    """The API refused it already. The command stored two lines, or failed without the name of the option."""
    message = refusal(capsys, "create", "--submitter", "a", "--label", label)

    assert "argument --label: expected up to 100 printable characters, got " in message

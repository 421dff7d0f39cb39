"""A renewed certificate is used as soon as its files belong together, and the earlier one until then."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graphql_api.configuration.certificate import Certificate
from tests.certificates import certificate


@pytest.mark.parametrize("name", ["certificate.pem", "key.pem"])
def test_files_that_are_missing_are_in_the_log_once_and_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """When the files are there again, they are used."""
    own = Certificate(*certificate(tmp_path).values())
    before = own.context
    (tmp_path / name).unlink()

    with caplog.at_level(logging.WARNING):
        own.renew()
        own.renew()

    assert own.context is before
    assert len(caplog.messages) == 1
    assert "No such file or directory" in caplog.text
    certificate(tmp_path)
    own.renew()
    assert own.context is not before


def test_files_that_have_not_changed_are_not_read_again(tmp_path: Path) -> None:
    """Each check would otherwise parse the certificate."""
    own = Certificate(*certificate(tmp_path).values())
    before = own.context

    own.renew()

    assert own.context is before


@pytest.mark.parametrize(("days", "words"), [(13, "expires at 2"), (-1, "has expired at 2")])
def test_the_log_warns_before_a_certificate_expires(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, words: str
) -> None:
    """A renewal that fails would be noticed when clients refuse the certificate. This one is valid for a day."""
    own = Certificate(*certificate(tmp_path).values())
    expiry = datetime.now(UTC) + timedelta(days=1)

    with caplog.at_level(logging.WARNING):
        own.warn_before_expiry(expiry - timedelta(days=15))
        assert caplog.messages == []
        own.warn_before_expiry(expiry - timedelta(days=days))
        own.warn_before_expiry(expiry - timedelta(days=days))
        assert len(caplog.messages) == 1
        certificate(tmp_path)
        own.renew()
        own.warn_before_expiry(expiry - timedelta(days=days))

    assert len(caplog.messages) == 2
    assert all(f"the certificate of {tmp_path / 'certificate.pem'} {words}" in message for message in caplog.messages)

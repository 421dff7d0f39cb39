"""The warning of an API that other machines reach."""

import logging

import pytest

from graphql_api.__main__ import warn_of_other_machines
from graphql_api.configuration.settings import Settings


@pytest.mark.parametrize(
    ("host", "warns"),
    [
        ("127.0.0.1", False),
        ("127.0.0.2", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.0.2.1", True),
        ("dropzone.example.org", True),
    ],
)
def test_an_address_beyond_loopback_is_logged_with_what_to_do(
    host: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names TLS and the metrics, which require no key."""
    with caplog.at_level(logging.WARNING):
        warn_of_other_machines(Settings(host=host))

    assert bool(caplog.messages) is warns
    assert all("TLS" in message and "/metrics" in message and host in message for message in caplog.messages)

"""The address in the sign-in links that the keys command prints."""

from pathlib import Path

import pytest

from graphql_api.auth import key_arguments


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"API_PORT": "8010"}, "http://127.0.0.1:8010"),
        ({"API_PORT": "8443", "TLS_CERTIFICATE_FILE": "certificate.pem"}, "https://127.0.0.1:8443"),
        ({"API_PORT": "8010", "PUBLIC_URL": "https://dropzone.example.org"}, "https://dropzone.example.org"),
    ],
)
def test_a_link_has_the_address_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], url: str
) -> None:
    """The link always had port 8000, also with another `DROPZONE_API_PORT`."""
    for name in ("API_PORT", "TLS_CERTIFICATE_FILE", "PUBLIC_URL"):
        monkeypatch.setenv(f"DROPZONE_{name}", settings.get(name, ""))

    options = key_arguments.parser("keys", None).parse_args(["sign-in-link", "--file", "api-key"])

    assert (options.file, options.url) == (Path("api-key"), url)

"""Settings of the API are validated before it starts."""

from pathlib import Path

import pytest

from graphql_api.configuration.network_settings import parse_metrics_sources
from graphql_api.configuration.settings import Settings


def test_a_setting_is_read_from_its_environment_variable() -> None:
    """The value has the type of the default. Other settings keep their defaults."""
    settings = Settings.from_environ({"DROPZONE_MAX_SAMPLE_MIB": "3", "DROPZONE_KEY_CACHE_SECONDS": "0.5", "PATH": "/"})

    assert settings == Settings(max_sample_mib=3, key_cache_seconds=0.5)


@pytest.mark.parametrize(
    ("environment", "port"),
    [({}, 8000), ({"PORT": "1234"}, 1234), ({"PORT": "1234", "DROPZONE_API_PORT": "5678"}, 5678)],
    ids=["default", "Cloud Run", "both"],
)
def test_the_port_of_cloud_run_is_the_default(environment: dict[str, str], port: int) -> None:
    """Cloud Run tells a container its port in the variable PORT."""
    assert Settings.from_environ(environment).api_port == port


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_SAMPLE_MIB", "0", " must be at least 1, got 0"),
        ("WRITE_TIMEOUT_SECONDS", "0", " must be at least 0.1, got 0.0"),
        ("WRITE_TIMEOUT_SECONDS", "10000", " must be at most 3600 seconds, got 10000.0"),
        ("MAX_PENDING_WRITES_MIB", "63", r" must be at least 64 \(DROPZONE_MAX_SAMPLE_MIB\), got 63"),
        ("WRITE_TIMEOUT_SECONDS", "nan", " must be a finite number, got nan"),
        ("KEY_CACHE_SECONDS", "inf", " must be a finite number, got inf"),
        ("API_PORT", "-1", " must be a port from 1 to 65535, got -1"),
        ("API_PORT", "65536", " must be a port from 1 to 65535, got 65536"),
        ("MAX_CONNECTIONS", "0", " must be at least 1, got 0"),
        ("MAX_CONNECTIONS", "1" + 400 * "0", " must be at most 900000000, got 10+"),
        ("MAX_SAMPLE_MIB_PER_DAY_PER_SUBMITTER", "900000001", " must be at most 900000000, got 900000001"),
        ("MAX_PENDING_WRITES_MIB", "1" + 400 * "0", " must be at most 900000000, got 10+"),
        ("SHARDS", "-1", " must be at least 1, got -1"),
        ("SHARDS", "513", " must be at most 512, got 513"),
        ("SHARDS", "1.5", " must be a whole number, got '1.5'"),
        ("SHARDS", "٣", " must be a whole number, got '٣'"),
        ("MAX_CONNECTIONS", "4_000", " must be a whole number, got '4_000'"),
        ("KEY_CACHE_SECONDS", "5s", " must be a number, got '5s'"),
        ("KEY_CACHE_SECONDS", "٣", " must be a number, got '٣'"),
        ("PUBLIC_URL", "api.example.org", ": expected a URL such as https://example.org, got api.example.org"),
        ("PUBLIC_URL", "https://é.example", ": expected a URL such as https://example.org, got https://é.example"),
        ("PUBLIC_URL", 'https://a.example/"', ': expected a URL such as https://example.org, got https://a.example/"'),
        ("METRICS_SOURCES", "f", ": expected name=http://host:port/path or name=unix:/socket:/path, got f"),
        ("METRICS_SOURCES", "f=127.0.0.1:8081/metrics", ": expected name=http.*, got f=127.0.0.1:8081/metrics"),
        ("METRICS_SOURCES", "f=http://a:1/m,f=http://b:1/m", ": the name f appears twice; use each name once"),
        ("KEY_CACHE_SECONDS", "5000", " must be at most 3600 seconds, got 5000.0"),
        ("KEY_CACHE_SECONDS", "-1", " must be at least 0, got -1.0"),
        ("MAX_BUFFERED_RESULTS", "0", " must be at least 1, got 0"),
        ("ALLOWED_ORIGINS", "https://a.example, *", r": expected origins such as https://example.org, got \*"),
        (
            "ALLOWED_ORIGINS",
            "https://a.example/",
            ": expected origins such as https://example.org, got https://a.example/",
        ),
        ("ALLOWED_ORIGINS", "https://a b.example", ": expected origins such as .*, got https://a b.example"),
        ("ALLOWED_ORIGINS", "https://é.example", ": expected origins such as .*, got https://é.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, all", ": expected addresses such as 10.0.0.0/8: 'all' does not appear .*"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", ": expected addresses such as 10.0.0.0/8: 10.0.0.1/8 has host bits set"),
        ("FIRESTORE_TOKEN", "tökén", " must have printable ASCII characters only, without spaces at its ends, .*"),
        ("FIRESTORE_TOKEN", "t\udcff", " must have printable ASCII characters only, without spaces at its ends, .*"),
        ("FIRESTORE_TOKEN", "token ", " must have printable ASCII characters only, without spaces at its ends, .*"),
        ("SHUTDOWN_SECONDS", "30000", " must be at most 3600 seconds, got 30000"),
        ("DEFAULT_TIME_ZONE", "Mars/Base", " must be a time zone such as Europe/Zurich, got Mars/Base"),
    ],
)
def test_an_unusable_value_is_rejected(name: str, value: str, message: str) -> None:
    """The API does not start with a setting that would fail every request."""
    with pytest.raises(ValueError, match=f"^DROPZONE_{name}{message}$"):
        Settings.from_environ({f"DROPZONE_{name}": value})


def test_a_missing_file_of_the_certificate_is_named(tmp_path: Path) -> None:
    """The operator has to compare only one path with the disk."""
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    certificate.touch()

    with pytest.raises(ValueError, match=r"No such file or directory: '.*/privkey\.pem'$"):
        Settings.from_environ({"DROPZONE_TLS_CERTIFICATE_FILE": str(certificate), "DROPZONE_TLS_KEY_FILE": str(key)})


PROVIDER = {"OIDC_ISSUERS": "https://id.example", "PUBLIC_URL": "https://api.example", "OIDC_CLIENT_ID": "web"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"OIDC_ISSUERS": "https://id.example, partner=https://id.example"},
            "OIDC_ISSUERS: an issuer appears twice; list each issuer once, because its tokens have one prefix",
        ),
        (
            {"OIDC_ISSUERS": "https://id.example https://partner.example"},
            "OIDC_ISSUERS: expected a URL such as https://example.org, got https://id.example https://partner.example",
        ),
        ({"OIDC_ISSUERS": "https://id.example?tenant=1"}, "OIDC_ISSUERS: expected a URL such as .*, got .*"),
        ({"OIDC_ISSUERS": "http://id.example"}, "OIDC_ISSUERS: expected an address with https, got http://id.example"),
        ({"OIDC_ISSUERS": "a.b=https://id.example"}, "OIDC_ISSUERS: expected letters and digits before =, got a.b"),
        ({"OIDC_ISSUERS": "é=https://id.example"}, "OIDC_ISSUERS: expected letters and digits before =, got é"),
        ({"OIDC_ISSUERS": "=https://id.example"}, "OIDC_ISSUERS: expected letters and digits before =, got nothing"),
        ({"OIDC_ISSUERS": "https://user:pass@id.example"}, "OIDC_ISSUERS: expected a URL such as .*, got .*"),
        (
            {"OIDC_ISSUERS": "https://id.example/.well-known/openid-configuration"},
            "OIDC_ISSUERS: expected the issuer, as in the claim iss of its tokens, got the address of metadata: .*",
        ),
        ({"OIDC_SCOPES": "read=a,read=b"}, "OIDC_SCOPES: a scope appears twice; list each scope once"),
        ({"OIDC_SUBMITTER_CLAIM": ""}, "OIDC_SUBMITTER_CLAIM: expected the name of a claim, got nothing"),
        ({"OIDC_SCOPE_CLAIM": " scp"}, "OIDC_SCOPE_CLAIM: expected a name without spaces .*, got ' scp'"),
        ({"OIDC_AUDIENCE": "https://a.example "}, "OIDC_AUDIENCE: expected a name without spaces .*, got .*"),
        ({"OIDC_CLIENT_ID": "web\n"}, "OIDC_CLIENT_ID: expected a name without spaces .*, got .*"),
        ({"PUBLIC_URL": ""}, "OIDC_ISSUERS is set without DROPZONE_PUBLIC_URL; .*"),
        ({"OIDC_ISSUERS": ""}, "OIDC_CLIENT_ID is set without DROPZONE_OIDC_ISSUERS; .*"),
        (
            {"OIDC_ISSUERS": "", "OIDC_CLIENT_ID": "", "OIDC_AUDIENCE": "a"},
            "OIDC_AUDIENCE is set without DROPZONE_OIDC_ISSUERS; .*",
        ),
    ],
)
def test_settings_of_a_provider_that_refuse_every_token_are_rejected(changes: dict[str, str], message: str) -> None:
    """The operator would otherwise notice only that no user can sign in, or that a user has another name."""
    environment = {f"DROPZONE_{name}": value for name, value in (PROVIDER | changes).items()}

    with pytest.raises(ValueError, match=f"^DROPZONE_{message}$"):
        Settings.from_environ(environment)


def test_an_unknown_setting_is_rejected_with_the_nearest_name() -> None:
    """A misspelled setting would otherwise have no effect. No name is suggested if none is similar."""
    with pytest.raises(ValueError, match=r"^DROPZONE_SHRADS is not a setting; did you mean DROPZONE_SHARDS\?"):
        Settings.from_environ({"DROPZONE_SHRADS": "4"})
    with pytest.raises(ValueError, match=r"^DROPZONE_DEBUG is not a setting\. See docs/configuration\.md\.$"):
        Settings.from_environ({"DROPZONE_DEBUG": "1"})


def test_the_sources_of_metrics_have_names() -> None:
    """Pairs are separated by commas. The path of a socket can contain spaces."""
    assert parse_metrics_sources("") == {}
    assert parse_metrics_sources("a=http://127.0.0.1:1/metrics, b=unix:/run/my stack/b:/metrics") == {
        "a": "http://127.0.0.1:1/metrics",
        "b": "unix:/run/my stack/b:/metrics",
    }

"""The environment variables that Terraform sets are settings of API and function: a wrong name stops a process."""

import re
from pathlib import Path

from graphql_api.configuration.settings import Settings as ApiSettings
from triggers.settings import Settings as FunctionSettings

RUN = Path("infra/gcp/run.tf").read_text()
VALUES = {
    "DROPZONE_SHARDS": "4",
    "DROPZONE_MAX_REQUEST_MIB": "30",
    "DROPZONE_TRUSTED_PROXIES": "169.254.0.0/16",
    "DROPZONE_MAX_CONNECTIONS_PER_ADDRESS": "4000",
    "DROPZONE_MAX_UNAUTHENTICATED_WEBSOCKETS_PER_ADDRESS": "4000",
    "DROPZONE_MAX_FAILED_AUTHENTICATIONS_PER_SECOND": "1000",
    "DROPZONE_MAX_MEMORY_MIB": "1433",
    "DROPZONE_EVENT_AUDIENCE": "https://f-123.europe-west6.run.app,https://f-*.a.run.app",
    "DROPZONE_EVENT_SERVICE_ACCOUNT": "dropzone-eventarc@example-project.iam.gserviceaccount.com",
}


def environment(block: str) -> dict[str, str]:
    """Return the variables that a local value of run.tf sets, with examples of their values."""
    match = re.search(rf"  {block} = .*?\n  }}", RUN, re.DOTALL)
    assert match is not None
    return {name: VALUES[name] for name in re.findall(r"DROPZONE_\w+", match[0])}


def test_the_api_starts_with_the_environment_of_terraform() -> None:
    """Clients learn the limit of Cloud Run from the API."""
    settings = ApiSettings.from_environ(environment("api_defaults") | environment("api_environment"))

    assert settings.shards == 4
    assert settings.max_request_mib == 30


def test_the_function_starts_with_the_environment_of_terraform() -> None:
    """It accepts tokens for both of its URLs, and audits the shards of the API."""
    settings = FunctionSettings.from_environ(environment("function_environment"))

    assert settings.event_audiences == ["https://f-123.europe-west6.run.app", "https://f-*.a.run.app"]
    assert settings.shards == 4

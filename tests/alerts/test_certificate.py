"""The alert about a certificate fires before the certificate expires, and ends after its renewal: `make alerts`."""

import shutil
from pathlib import Path

import pytest

from tests.alerts.prometheus import Prometheus
from tests.certificates import certificate
from tests.stack import Stack, eventually

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
    pytest.mark.timeout(900),
]


def test_an_alert_fires_until_an_expiring_certificate_is_renewed(tmp_path: Path) -> None:
    """The renewal needs no restart of the API. Prometheus reads its CA file again, too."""
    settings = certificate(tmp_path)
    file = settings["DROPZONE_TLS_CERTIFICATE_FILE"]
    with (
        Stack(tmp_path, SSL_CERT_FILE=file, **settings) as stack,
        Prometheus(tmp_path / "prometheus", f"127.0.0.1:{stack.api_port}", ca_file=file) as prometheus,
    ):
        eventually(lambda: "DropzoneCertificateExpires" in prometheus.firing(), lambda: stack.log)

        certificate(tmp_path, valid_days=90)

        eventually(lambda: not prometheus.firing(), lambda: f"{prometheus.firing()}\n{stack.log}")

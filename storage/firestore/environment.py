"""The Firestore that the environment selects: an emulator, such as the embedded Firestore, or Google Cloud.

Google's emulator refuses calls without the bearer token `owner`. If `DROPZONE_FIRESTORE_TOKEN` is set, the embedded
Firestore refuses calls without this token.
"""

import logging
import os
import re
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from observability.throttled_log import ThrottledLog

CREDENTIALS_SECONDS = 60.0
"""How long a container of Kubernetes waits for credentials. In GKE, a new pod gets them after some seconds."""
CREDENTIALS_PAUSE_SECONDS = 1.0

EMULATOR_VARIABLE = "FIRESTORE_EMULATOR_HOST"
_TOKEN_VARIABLE = "DROPZONE_FIRESTORE_TOKEN"  # noqa: S105 - the name of a variable
_EMULATOR_TOKEN = "owner"  # noqa: S105 - not a secret
_LOCAL_PROJECT = "dropzone-local"
_KUBERNETES_VARIABLE = "KUBERNETES_SERVICE_HOST"
"""Kubernetes sets this variable in each container."""
_KEY_FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_TOKEN = re.compile("[!-~]([ -~]*[!-~])?")
"""A header does not keep spaces at the ends of its value."""
_ADDRESS = re.compile(r"unix:.+|(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}")


class Emulator(NamedTuple):
    """A Firestore without TLS, such as the embedded one."""

    address: str
    token: str
    project: str


class GoogleCloud(NamedTuple):
    """Firestore on Google Cloud."""

    credentials: Any
    project: str


def selected_firestore(environ: Mapping[str, str] = os.environ) -> Emulator | GoogleCloud:
    """Return the Firestore that an environment selects. Raises `ValueError`, which says what to set.

    Each process calls this before it starts to serve. Otherwise its first call to Firestore would fail. In a
    container of Kubernetes, this waits up to `CREDENTIALS_SECONDS` for the credentials of Google Cloud.
    """
    address = environ.get(EMULATOR_VARIABLE)
    if not address:
        return _google_cloud()
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{EMULATOR_VARIABLE} must be a host and a port, such as 127.0.0.1:8080, got {address}")
    return Emulator(address, bearer_token(environ), environ.get("GOOGLE_CLOUD_PROJECT") or _LOCAL_PROJECT)


def bearer_token(environ: Mapping[str, str]) -> str:
    """Return the token in an environment, or that of the emulator. Raises `ValueError` if it is not valid."""
    token = environ.get(_TOKEN_VARIABLE) or _EMULATOR_TOKEN
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            f"{_TOKEN_VARIABLE} must have printable ASCII characters only, without spaces at its ends, because it is "
            "sent in a header"
        )
    return token


@cache
def _google_cloud() -> GoogleCloud:
    """Return the credentials and the project of this process. Google's library reads them from several places."""
    # These imports take half a second of CPU time, and only Google Cloud needs them.
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport

    can_appear = _KUBERNETES_VARIABLE in os.environ and _KEY_FILE_VARIABLE not in os.environ
    deadline = time.monotonic() + (CREDENTIALS_SECONDS if can_appear else 0)
    log = ThrottledLog(logging.getLogger(__name__))
    while True:
        try:
            credentials, project = google.auth.default(scopes=FirestoreGrpcAsyncIOTransport.AUTH_SCOPES)
            break
        except (GoogleAuthError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
        if time.monotonic() >= deadline:
            raise ValueError(
                f"{EMULATOR_VARIABLE} is not set, and no credentials for Google Cloud were found; set "
                f"{EMULATOR_VARIABLE} to the address of the embedded Firestore, such as 127.0.0.1:8080, or sign in to "
                f"Google Cloud: {reason}"
            )
        log.warning("waiting up to %d s for the credentials of Google Cloud: %s", CREDENTIALS_SECONDS, reason)
        time.sleep(CREDENTIALS_PAUSE_SECONDS)
    if not project:
        raise ValueError("GOOGLE_CLOUD_PROJECT is not set; set it to the id of your Google Cloud project")
    return GoogleCloud(credentials, project)

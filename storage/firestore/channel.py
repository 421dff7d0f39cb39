"""The gRPC channel to Firestore, with the same options in every process.

If `FIRESTORE_EMULATOR_HOST` is set, the channel connects to that host without TLS. Otherwise the
channel connects to the production service with the default credentials of Google Cloud.
"""

import os

import google.auth
import grpc.aio
from google.cloud.firestore_v1.services.firestore.transports.grpc_asyncio import FirestoreGrpcAsyncIOTransport

_LOCAL_PROJECT = "dropzone-local"
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC's default reconnect backoff grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A connection can stop responding without being closed. gRPC detects this only by an unanswered ping.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


def open_channel() -> tuple[grpc.aio.Channel, str | None]:
    """Return a channel to Firestore, and the project from the environment or None.

    The channel belongs to the running event loop. It connects at the first call.
    """
    if host := os.environ.get("FIRESTORE_EMULATOR_HOST"):
        return grpc.aio.insecure_channel(host, options=_OPTIONS), os.environ.get("GOOGLE_CLOUD_PROJECT", _LOCAL_PROJECT)
    credentials, project = google.auth.default(scopes=FirestoreGrpcAsyncIOTransport.AUTH_SCOPES)
    return FirestoreGrpcAsyncIOTransport.create_channel(credentials=credentials, options=_OPTIONS), project

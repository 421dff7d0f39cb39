"""All attacks. Importing this package registers them."""

from tests.attack.attacks import (
    administration,
    bodies,
    connections,
    credentials,
    events,
    filters,
    floods,
    frames,
    large_documents,
    last_bytes,
    parsing,
    providers,
    queries,
    responses,
    rounds,
    stored_results,
    tls,
)
from tests.attack.registry import ATTACKS

__all__ = [
    "ATTACKS",
    "administration",
    "bodies",
    "connections",
    "credentials",
    "events",
    "filters",
    "floods",
    "frames",
    "large_documents",
    "last_bytes",
    "parsing",
    "providers",
    "queries",
    "responses",
    "rounds",
    "stored_results",
    "tls",
]

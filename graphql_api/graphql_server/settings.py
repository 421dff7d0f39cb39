"""Every limit of the transport in one place, with defaults that are safe on a public address.

A limit is there because something without it kept a server busy or grew it without bound; each is
enforced before the work that it bounds, never after.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB

BREATH_SECONDS = 0.002
"""Between steps that hold the event loop for long: a request needs several of its turns, not one, to be answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransportSettings:
    """Sizes are in bytes, times in seconds."""

    # A request body, as sent and as decoded.
    max_body_bytes: int = 64 * MIB
    body_grace_seconds: float = 10.0  # waiting for the client, before its rate counts
    body_bytes_per_second: int = 4 * KIB  # slower than this on average is a 408
    max_plain_variable_bytes: int = 1 * MIB  # all variables together that are not raw samples
    max_raw_list_length: int = 1_000

    # An operation, measured after fragments are expanded.
    max_document_length: int = 64 * KIB  # in characters
    max_tokens: int = 2_000
    max_selection_depth: int = 20
    max_selections: int = 350
    max_directives: int = 100
    max_comparisons: int = 3_000  # of fields with the same response name; validation compares each pair
    max_introspections: int = 3
    max_introspected_lists: int = 30
    max_name_length: int = 128

    # Parsed and validated operations that are kept.
    max_cached_operations: int = 1_000
    max_operation_cache_length: int = 512 * KIB  # of text; parsed it takes 50 to 150 times as much

    execution_seconds: float = 30.0
    recheck_seconds: float = 5.0  # whether the key of a stream or a socket is still good
    raw_scalars: frozenset[str] = frozenset({"RawSample"})  # handed to coercion as `msgspec.Raw`

    # Server-Sent Events and multipart subscriptions.
    keep_alive_seconds: float = 12.0
    max_event_streams: int = 1_000  # single connection mode: reservations, with or without a stream
    max_own_streams: int = 100  # of them, per credential
    reservation_seconds: float = 30.0
    event_queue_length: int = 100

    # WebSockets.
    allowed_origins: frozenset[str] = frozenset()  # beside the server's own, such as "https://example.org"
    max_sockets: int = 4_000
    max_subscriptions: int = 100  # per socket, and per event stream
    connection_init_seconds: float = 3.0
    idle_socket_seconds: float = 600.0  # with no operation running

"""All limits of the GraphQL server. The defaults are safe on a public address.

The server checks a limit before it starts the limited work. Lengths are in characters.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphQLSettings:
    """The limits of requests, operations, event streams and WebSockets."""

    # Request bodies. The size limit applies to the body as sent and to the decoded body.
    max_body_bytes: int = 64 * MIB
    body_grace_seconds: float = 10.0  # time without data before the minimum rate applies
    min_body_bytes_per_second: int = 4 * KIB  # on average
    max_plain_variable_bytes: int = 1 * MIB  # total of all variables that are not raw scalars
    max_plain_variable_items: int = 5_000  # in the same variables; an item of a list takes about 2 µs
    max_raw_list_length: int = 1_000  # items in a list of raw scalars
    raw_scalars: frozenset[str] = frozenset({"RawSample"})  # a resolver gets these as `msgspec.Raw`, not decoded

    # Operations, measured with all fragments expanded.
    max_document_length: int = 64 * KIB
    max_document_lines: int = 3_000  # an error takes 0.5 µs for each line before it, and a document can have ten errors
    max_document_escapes: int = 5_000  # backslashes; an escape takes 2 µs to parse
    max_tokens: int = 2_000
    max_selection_depth: int = 20
    max_selections: int = 350
    max_directives: int = 100
    max_comparisons: int = 3_000  # validation compares pairs of fields with the same response name, and of fragments
    max_introspections: int = 3
    max_introspected_lists: int = 30
    max_name_length: int = 128
    max_operation_cost: int = 1_000  # units; see operation_cost.py

    # Cache of parsed and validated documents.
    max_cached_documents: int = 1_000
    max_cached_length: int = 128 * KIB  # total of all documents; parsed, a document takes 50 to 150 times its length

    execution_timeout_seconds: float = 30.0
    credential_check_seconds: float = 5.0  # interval between checks of the credential of a stream or WebSocket

    # Server-Sent Events.
    keep_alive_seconds: float = 12.0  # interval between comments on a stream without events

    # WebSockets.
    allowed_origins: frozenset[str] = frozenset()  # besides the server's own origin, e.g. "https://example.org"
    max_operations_per_websocket: int = 100
    connection_init_seconds: float = 3.0
    idle_websocket_seconds: float = 600.0  # time without an operation before the server closes the WebSocket


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """The limits of connections."""

    max_waiting_connections: int = 4_000  # accepted but not yet open; others wait in the queue of the kernel
    header_timeout_seconds: float = 10.0  # from the first byte of a request, or from the connection
    max_header_bytes: int = 32 * KIB  # total of the request line and all headers
    max_headers: int = 100
    keep_alive_seconds: int = 75
    stall_seconds: float = 20.0  # the server disconnects a client that reads below the minimum rate for this time
    min_read_bytes_per_second: int = 1 * KIB
    max_unsent_bytes: int = 16 * KIB  # that the kernel does not take; until it does, the application waits
    unread_body_seconds: float = 2.0  # time after a response to receive the rest of the body before closing
    unread_response_seconds: float = 150.0  # time to read the rest of a response, of which the kernel has 128 KiB
    max_unread_body_bytes: int = 1 * MIB
    max_message_bytes: int = 1 * MIB  # of a WebSocket
    max_unauthenticated_frames: int = 16  # of a WebSocket, until its client has authenticated itself
    max_unauthenticated_bytes: int = 4 * KIB
    max_frames_without_data_per_second: int = 1_000  # of a WebSocket: pings, pongs and empty fragments
    ping_interval_seconds: float = 20.0
    shutdown_seconds: float = 1.0  # time for the requests in progress when the server stops
    cleanup_seconds: float = 0.25  # time for requests that were ended because the server stops
    close_seconds: float = 1.0  # time for the application to close its connections

"""Where Google's emulator and the embedded Firestore differ on purpose, with Google's documentation as the judge.

Each row names an edge (see write_edges and query_edges), what the emulator answers, and why that is not followed.
Beside these the random comparisons leave out: a request time (the emulator's has milliseconds), the commit
times of the writes of one BatchWrite among each other, and everything of which two right servers may differ.
"""

from typing import Any

_API = "cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1"
_LIMITS = "cloud.google.com/firestore/quotas#limits"

DIFFERENCES: dict[str, tuple[Any, str]] = {
    "a document of another database": (
        1,
        f"{_API}#commitrequest: `database` is the one that is written to; the emulator writes to any",
    ),
    "a query of nothing": (
        1,
        "a query needs a collection selector, as production says (`Query FROM is mandatory`)",
    ),
    "a group beneath a document": (
        1,
        "production: `collection group queries are only allowed at the root parent`",
    ),
    "a composite filter of nothing": (
        1,
        f"{_API}#compositefilter: `filters` requires at least one filter",
    ),
    "a rollback of an unknown transaction": (
        "INVALID_ARGUMENT",
        "an unknown transaction may be one that ended long ago, and the client rolls back after an abort: an error "
        "there would hide the real one",
    ),
    "a batch with a vector in an array": (
        "INVALID_ARGUMENT",
        f"{_API}#batchwriterequest: `Each write succeeds or fails independently`; the emulator refuses all",
    ),
    "an array with too many index entries": (
        1,
        f"{_LIMITS}: at most 40,000 index entries for a document",
    ),
    "a batch of too many writes": (
        [0] * 501,
        "production: `maximum 500 writes allowed per request`",
    ),
    "a delete and a set of one document": (
        [True, True],
        f"{_API}#writeresult: `update_time` is `not set after a delete`",
    ),
    "a search in a map": (
        0,
        f"{_API}#findnearest: `vector_field` is a field reference as any other; the emulator finds nothing in maps",
    ),
    "partitions of a few documents": (
        "UNIMPLEMENTED",
        f"{_API}#partitionqueryrequest: the emulator does not have it",
    ),
}

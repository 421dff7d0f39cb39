"""Edge cases where the embedded Firestore follows Google's documentation and the emulator does not.

Each row has the name of an edge case (see write_edges and query_edges), the emulator's result and the reason why the
embedded Firestore differs. The random comparisons also skip server times, which have milliseconds in the emulator, and
the order of commit times within one BatchWrite.
"""

from typing import Any

_API = "cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1"
_LIMITS = "cloud.google.com/firestore/quotas#limits"

DIFFERENCES: dict[str, tuple[Any, str]] = {
    "a document of another database": (
        1,
        f"{_API}#commitrequest: `database` is the database that is written to; the emulator writes to any database",
    ),
    "a query without a collection": (
        1,
        "production requires a collection selector: `Query FROM is mandatory`",
    ),
    "a group beneath a document": (
        1,
        "production: `collection group queries are only allowed at the root parent`",
    ),
    "a composite filter without filters": (
        1,
        f"{_API}#compositefilter: `filters` requires at least one filter",
    ),
    "the update time of a missing document": (
        1,
        f"{_API}#precondition: `the target document must exist and have been last updated at that time`",
    ),
    "a delete with the update time of a missing document": (
        1,
        f"{_API}#precondition: `the target document must exist and have been last updated at that time`",
    ),
    "a rollback of an unknown transaction": (
        "INVALID_ARGUMENT",
        "an unknown transaction can be one that has ended. The client rolls back after ABORTED, and an error of that "
        "rollback would hide the first error",
    ),
    "a batch with a vector in an array": (
        "INVALID_ARGUMENT",
        f"{_API}#batchwriterequest: `Each write succeeds or fails independently`; the emulator refuses all",
    ),
    "too many repetitions of a condition": (
        1,
        f"{_LIMITS}: at most 100 filters and orders in a query; the emulator counts repeated filters once",
    ),
    "too many transforms": (
        1,
        f"{_LIMITS}: at most 500 field transformations of a document in a Commit; the emulator has no such limit",
    ),
    "too many transforms in two writes": (
        2,
        f"{_LIMITS}: at most 500 field transformations of a document in a Commit; the emulator has no such limit",
    ),
    "an array with too many index entries": (
        1,
        f"{_LIMITS}: at most 40,000 index entries for a document",
    ),
    "fields with too many index entries": (
        1,
        f"{_LIMITS}: at most 40,000 index entries for a document; a field has an ascending and a descending one",
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
        f"{_API}#findnearest: `vector_field` is a field reference, which can be in a map; the emulator finds nothing",
    ),
    "partitions of a few documents": (
        "UNIMPLEMENTED",
        f"{_API}#partitionqueryrequest: the emulator does not support it",
    ),
}

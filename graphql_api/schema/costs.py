"""The costs of fields. `graphql_server` adds them up to the cost of an operation.

A field declares its cost with `metadata=costs(...)`, in units of about one millisecond of CPU time. Fields that
only return an attribute declare no cost. The figures are rounded measurements of the API and Firestore on one machine.
"""

from dataclasses import replace

from graphql import GraphQLSchema, is_object_type
from strawberry.utils.str_converters import to_camel_case

from graphql_api.auth.audit_log import MAX_ENTRIES
from graphql_api.graphql_server.execution.operation_cost import FieldCost, declare
from graphql_api.results.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from graphql_api.results.series_listing import MAX_GROUPS
from graphql_api.results.summaries import MAX_BUCKETS
from graphql_api.schema.strawberry_definitions import metadata_of
from storage.documents import STATISTICS

_METADATA_KEY = "cost"

PAGE = FieldCost(1, 0.2, ("first", "last"), DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
"""A page of documents that one query of Firestore returns."""

PAGE_OF_RESULTS = replace(
    PAGE,
    scan_units=20,
    scan_members=frozenset({"field", *(to_camel_case(each.name) for each in STATISTICS.values() if each.is_indexed)}),
)
"""A page of results. If the filter has a range of a statistic, or if the query has `orderBy`, Firestore can read
thousands of index entries to find one result. `field` is a member of `orderBy`.
"""

PAGE_OF_SAMPLES = replace(PAGE, scan_units=60, scan_members=frozenset({"state"}))
"""A page of samples. With a state, the server can read up to 2,000 samples and their results for one sample."""

AUDIT_LOG = FieldCost(20, 0.4, ("first",), 100, MAX_ENTRIES)
"""Entries of the audit log. An entry can have 100 ids of samples."""

API_KEYS = FieldCost(100, default_size=100)
"""The keys of a submitter. Most submitters have a few keys, but the maximum is 1,000 by default."""

AUDITED_IDS = FieldCost(0.1)
"""Up to 100 ids of samples: up to 4 KB of JSON."""

SCAN = FieldCost(250)
"""All documents that pass a filter. Few scans of one submitter run at the same time."""

SCAN_OF_BUCKETS = replace(SCAN, default_size=MAX_BUCKETS // 20)
"""A scan that returns time buckets. Fields below a list of buckets count 1,000 times."""

SCAN_OF_GROUPS = replace(SCAN, default_size=MAX_GROUPS // 4)
"""A scan that returns groups. Fields below a list of groups count 250 times."""

COUNT = FieldCost(20)
"""A count by Firestore."""

COUNT_SAMPLES = FieldCost(60)
"""A count of samples. With some filters, the server reads every sample."""

READ = FieldCost(0.1)
"""One document, read together with others."""

VECTOR = FieldCost(0.05)
"""A list of up to 101 numbers: up to 2 KB of JSON. A response with 10,000 such lists has 20 MB."""

SINGLE_READ = FieldCost(1)
"""One document, in a call of its own."""

RAW = FieldCost(1)
"""One raw document. The size of all raw documents of an operation is limited separately."""

SETTING_CHANGE = FieldCost(20)
"""A change of a setting of the submitter. Like a change of a key, it is a Commit of its own, so few run at a time."""

KEY_CHANGE = FieldCost(20)
"""The creation, the rotation or the revocation of a key, or a change of its limits."""

JOB_START = FieldCost(20)
"""The start of a deletion or a recomputation. It runs after the response, so its work is not included."""


def costs(cost: FieldCost) -> dict[str, FieldCost]:
    """Return the metadata of a field with this cost."""
    return {_METADATA_KEY: cost}


def declare_costs(schema: GraphQLSchema) -> GraphQLSchema:
    """Declare the cost of each field of a Strawberry schema in place. Return the schema."""
    for kind in schema.type_map.values():
        if is_object_type(kind):
            for field in kind.fields.values():
                cost = metadata_of(field, _METADATA_KEY)
                if isinstance(cost, FieldCost):
                    declare(field, cost)
    return schema

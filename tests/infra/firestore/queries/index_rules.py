"""Which index each kind of query needs, with the page or test of Google's that says so.

The collections are those of `INDEXES` and `OVERRIDES`; in `plain` nothing is defined. An index is written as its
scope and fields: `+a` ascending, `-a` descending, `@a` array-contains.
"""

from collections.abc import Callable
from typing import Any

from google.cloud.firestore import And, Client, FieldFilter, Or

_OVERVIEW = "firebase.google.com/docs/firestore/query-data/index-overview"
AUTOMATIC = f"{_OVERVIEW}#automatic_indexing: ascending, descending and array-contains, in the scope of a collection"
MODES = f"{_OVERVIEW}#index_modes"
COMPOSITE = f"{_OVERVIEW}#composite_indexes"
FALLING = f"{_OVERVIEW}#queries_supported_by_composite_indexes: a descending order needs an additional index"
MERGING = f"{_OVERVIEW}#taking_advantage_of_index_merging"
SCOPES = f"{_OVERVIEW}#query_scopes"
EXEMPTIONS = f"{_OVERVIEW}#single-field_index_exemptions: what is exempted can still be in a composite index"
NAME = (
    "cloud.google.com/firestore/docs/reference/rest/v1/projects.databases.collectionGroups.indexes#indexfield: names "
    "go in the direction of the last field, or up if that has none"
)
ORDER = (
    "cloud.google.com/firestore/docs/reference/rpc/google.firestore.v1#structuredquery: fields of inequalities follow "
    "by name, in the direction of the last order"
)
SDK = "github.com/firebase/firebase-js-sdk: query.test.ts runs this against production, which has no index for it"
SDK_INDEXES = "github.com/firebase/firebase-js-sdk: composite_index_query.test.ts and firestore_index_config.tf"
ANDROID_INDEXES = "github.com/firebase/firebase-android-sdk: firestore_composite_index_config.tf"


def _index(collection: str, *components: str, scope: str = "COLLECTION") -> dict[str, Any]:
    modes = {"+": ("order", "ASCENDING"), "-": ("order", "DESCENDING"), "@": ("arrayConfig", "CONTAINS")}
    spelled = [{"fieldPath": each[1:], modes[each[0]][0]: modes[each[0]][1]} for each in components]
    return {"collectionGroup": collection, "queryScope": scope, "fields": spelled}


INDEXES = [
    _index("pairs", "+a", "+b"),
    _index("falling", "-a", "-b"),
    _index("named", "+a", "+b", "-__name__"),
    _index("restaurants", "+category", "+stars"),
    _index("restaurants", "+city", "+stars"),
    _index("restaurants", "+pick", "+stars"),
    _index("groups", "+a", "+b", scope="COLLECTION_GROUP"),
    _index("exempt", "+a", "+b"),
    _index("listed", "+a", "@tags"),
]
OVERRIDES = [
    {"collectionGroup": "exempt", "fieldPath": "a", "indexes": []},
    {
        "collectionGroup": "groups",
        "fieldPath": "a",
        "indexes": [{"order": "ASCENDING", "queryScope": "COLLECTION_GROUP"}],
    },
]

Ask = Callable[[Client], Any]
Filter = tuple[str, str, Any]


def _filters(tests: tuple[Any, ...]) -> list[Any]:
    return [FieldFilter(*test) if isinstance(test, tuple) else test for test in tests]


def either(*tests: Any) -> Any:
    """Return a filter that one of these must pass."""
    return Or(_filters(tests))


def find(collection: str, *tests: Any, by: str = "", group: bool = False) -> Ask:
    """Return a query; `by` has orders as indexes are written."""

    def build(client: Client) -> Any:
        query: Any = client.collection_group(collection) if group else client.collection(collection)
        if tests:
            query = query.where(filter=And(_filters(tests)))
        for order in by.split():
            query = query.order_by(order[1:], direction="DESCENDING" if order[0] == "-" else "ASCENDING")
        return query

    return build


def add(query: Ask, *fields: str) -> Ask:
    """Return the sums of fields over what a query finds."""

    def build(client: Client) -> Any:
        aggregation: Any = query(client).count()
        for field in fields:
            aggregation = aggregation.sum(field)
        return aggregation

    return build


A, B = ("a", "==", 1), ("b", "==", 1)
TAGGED = ("tags", "array_contains", "x")
CITY, CATEGORY, PICK = ("city", "==", "x"), ("category", "==", "y"), ("pick", "==", True)

SERVED: dict[str, tuple[Ask, str]] = {
    "everything": (find("plain"), AUTOMATIC),
    "everything in a group": (find("plain", group=True), SCOPES),
    "an equality": (find("plain", A), AUTOMATIC),
    "a range": (find("plain", ("a", ">", 1), ("a", "<", 5)), AUTOMATIC),
    "a range from above": (find("plain", ("a", ">", 1), by="-a"), AUTOMATIC),
    "an order": (find("plain", by="-a"), AUTOMATIC),
    "what differs": (find("plain", ("a", "!=", 1)), MODES),
    "what is none of some": (find("plain", ("a", "not-in", [1, 2])), MODES),
    "an element": (find("plain", TAGGED), AUTOMATIC),
    "one of some elements": (find("plain", ("tags", "array_contains_any", ["x", "y"])), AUTOMATIC),
    "two equalities": (find("plain", A, B), MERGING),
    "an equality and an element": (find("plain", ("a", "in", [2, 3]), TAGGED), SDK),
    "alternatives of equalities": (find("plain", either(A, B)), SDK),
    "alternatives that overlap": (find("plain", either(A, ("b", "in", [2, 3]), TAGGED)), SDK),
    "an equality in the order of its field": (find("plain", A, by="+a"), MODES),
    "an equality from the last name on": (find("plain", A, by="-__name__"), NAME),
    "an equality and an order": (find("pairs", A, by="+b"), COMPOSITE),
    "an equality and a range": (find("pairs", A, ("b", ">", 1)), COMPOSITE),
    "two orders": (find("pairs", by="+a +b"), COMPOSITE),
    "two ranges": (find("pairs", ("a", ">", 1), ("b", ">", 1)), ORDER),
    "alternatives and an order": (find("pairs", ("a", "in", [1, 2]), by="+b"), COMPOSITE),
    "a falling order": (find("falling", A, by="-b"), COMPOSITE),
    "two falling orders": (find("falling", by="-a -b"), COMPOSITE),
    "names the other way": (find("named", A, by="+b -__name__"), NAME),
    "two equalities and an order": (find("restaurants", CATEGORY, CITY, by="+stars"), MERGING),
    "three equalities and an order": (find("restaurants", CATEGORY, CITY, PICK, by="+stars"), MERGING),
    "an equality and an element by one index": (find("listed", A, TAGGED), COMPOSITE),
    "an equality in a group": (find("groups", A, group=True), SCOPES),
    "an equality and an order in a group": (find("groups", A, by="+b", group=True), SCOPES),
    "an order of what is exempted": (find("exempt", A, by="+b"), EXEMPTIONS),
}

REFUSED: dict[str, tuple[Ask, str, str]] = {
    "an equality and an order": (find("plain", A, by="+b"), "COLLECTION +a +b", COMPOSITE),
    "an equality and a falling order": (find("plain", A, by="-b"), "COLLECTION +a -b", SDK_INDEXES),
    "an equality and a range": (find("plain", A, ("b", ">", 1)), "COLLECTION +a +b", COMPOSITE),
    "an equality and what differs": (find("plain", A, ("b", "!=", 1)), "COLLECTION +a +b", MODES),
    "an equality and what is none of some": (find("plain", A, ("b", "not-in", [1])), "COLLECTION +a +b", MODES),
    "two orders": (find("plain", by="+a -b"), "COLLECTION +a -b", COMPOSITE),
    "two ranges": (find("plain", ("b", ">", 1), ("a", ">", 1)), "COLLECTION +a +b", ORDER),
    "two ranges from above": (
        find("plain", ("a", ">", 1), ("b", ">", 1), by="-b"),
        "COLLECTION -b -a",
        ANDROID_INDEXES,
    ),
    "an order against names": (find("plain", by="+a -__name__"), "COLLECTION +a -__name__", NAME),
    "an element and an order": (find("plain", TAGGED, by="+a"), "COLLECTION @tags +a", COMPOSITE),
    "an element from the last name on": (find("plain", TAGGED, by="-__name__"), "COLLECTION @tags -__name__", NAME),
    "alternatives with a range": (find("plain", either(("a", ">", 2), B)), "COLLECTION +b +a", SDK_INDEXES),
    "alternatives and an order": (find("plain", ("a", "in", [1, 2]), by="+b"), "COLLECTION +a +b", COMPOSITE),
    "sums of two fields": (add(find("plain", A), "d", "c"), "COLLECTION +a +c +d", ANDROID_INDEXES),
    "sums over one of some elements": (
        add(find("plain", ("tags", "array_contains_any", ["x", "y"])), "tags", "c"),
        "COLLECTION @tags +c +tags",
        ANDROID_INDEXES,
    ),
    "an index backwards": (find("pairs", A, by="-b"), "COLLECTION +a -b", FALLING),
    "an index of two orders backwards": (find("pairs", by="-a -b"), "COLLECTION -a -b", FALLING),
    "a falling index backwards": (find("falling", A, by="+b"), "COLLECTION +a +b", FALLING),
    "an index with names the other way": (find("named", A, by="+b"), "COLLECTION +a +b", NAME),
    "indexes backwards together": (
        find("restaurants", CATEGORY, CITY, by="-stars"),
        "COLLECTION +category +city -stars",
        FALLING,
    ),
    "indexes that lack a field": (
        find("restaurants", CATEGORY, ("price", "==", 1), by="+stars"),
        "COLLECTION +category +price +stars",
        MERGING,
    ),
    "an index in another order": (find("pairs", by="+b +a"), "COLLECTION +b +a", COMPOSITE),
    "an order by an index of elements": (find("listed", A, by="+tags"), "COLLECTION +a +tags", MODES),
    "a group by an index of collections": (find("pairs", A, by="+b", group=True), "COLLECTION_GROUP +a +b", SCOPES),
    "a collection by an index of groups": (find("groups", ("a", ">", 1), by="+a +b"), "COLLECTION +a +b", SCOPES),
}

OF_ONE_FIELD: dict[str, tuple[Ask, list[str], str]] = {
    "an equality in a group": (
        find("plain", A, group=True),
        ["COLLECTION +", "COLLECTION_GROUP +", "COLLECTION @", "COLLECTION -"],
        SCOPES,
    ),
    "an element in a group": (
        find("plain", TAGGED, group=True),
        ["COLLECTION +", "COLLECTION @", "COLLECTION_GROUP @", "COLLECTION -"],
        SCOPES,
    ),
    "an order in a group": (
        find("plain", by="-a", group=True),
        ["COLLECTION +", "COLLECTION @", "COLLECTION -", "COLLECTION_GROUP -"],
        SCOPES,
    ),
    "an equality in a group from the last name on": (
        find("plain", A, by="-__name__", group=True),
        ["COLLECTION +", "COLLECTION @", "COLLECTION -", "COLLECTION_GROUP -"],
        NAME,
    ),
    "an equality in a collection of a group's index": (
        find("groups", A),
        ["COLLECTION +", "COLLECTION_GROUP +"],
        SCOPES,
    ),
    "what is exempted": (find("exempt", A), ["COLLECTION +"], EXEMPTIONS),
    "a range of what is exempted": (find("exempt", ("a", ">", 1), by="-a"), ["COLLECTION -"], EXEMPTIONS),
}

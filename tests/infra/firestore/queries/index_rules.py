"""Which index each kind of query requires, with the page or test by Google that says so.

The collections are those of `INDEXES` and `OVERRIDES`; `plain` has no definitions. An index is written as its scope and
fields: `+a` ascending, `-a` descending, `@a` array-contains.
"""

from typing import Any

from tests.infra.firestore.queries.rule_queries import Aggregate, Find, add, either, find

_OVERVIEW = "firebase.google.com/docs/firestore/query-data/index-overview"
AUTOMATIC = f"{_OVERVIEW}#automatic_indexing: ascending, descending and array-contains, in the scope of a collection"
MODES = f"{_OVERVIEW}#index_modes"
COMPOSITE = f"{_OVERVIEW}#composite_indexes"
DESCENDING = f"{_OVERVIEW}#queries_supported_by_composite_indexes: a descending order needs an additional index"
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
    written = [{"fieldPath": each[1:], modes[each[0]][0]: modes[each[0]][1]} for each in components]
    return {"collectionGroup": collection, "queryScope": scope, "fields": written}


INDEXES = [
    _index("pairs", "+a", "+b"),
    _index("descending", "-a", "-b"),
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

A, B = ("a", "==", 1), ("b", "==", 1)
TAGGED = ("tags", "array_contains", "x")
CITY, CATEGORY, PICK = ("city", "==", "x"), ("category", "==", "y"), ("pick", "==", True)

SERVED: dict[str, tuple[Find | Aggregate, str]] = {
    "no filter": (find("plain"), AUTOMATIC),
    "a collection group without filters": (find("plain", group=True), SCOPES),
    "an equality": (find("plain", A), AUTOMATIC),
    "a range": (find("plain", ("a", ">", 1), ("a", "<", 5)), AUTOMATIC),
    "a range in descending order": (find("plain", ("a", ">", 1), by="-a"), AUTOMATIC),
    "an order": (find("plain", by="-a"), AUTOMATIC),
    "not-equal": (find("plain", ("a", "!=", 1)), MODES),
    "not-in": (find("plain", ("a", "not-in", [1, 2])), MODES),
    "an array-contains": (find("plain", TAGGED), AUTOMATIC),
    "an array-contains-any": (find("plain", ("tags", "array_contains_any", ["x", "y"])), AUTOMATIC),
    "two equalities": (find("plain", A, B), MERGING),
    "an equality and an array-contains": (find("plain", ("a", "in", [2, 3]), TAGGED), SDK),
    "an or of equalities": (find("plain", either(A, B)), SDK),
    "an or whose parts overlap": (find("plain", either(A, ("b", "in", [2, 3]), TAGGED)), SDK),
    "an equality in the order of its field": (find("plain", A, by="+a"), MODES),
    "an equality in descending name order": (find("plain", A, by="-__name__"), NAME),
    "an equality and an order": (find("pairs", A, by="+b"), COMPOSITE),
    "an equality and a range": (find("pairs", A, ("b", ">", 1)), COMPOSITE),
    "two orders": (find("pairs", by="+a +b"), COMPOSITE),
    "two ranges": (find("pairs", ("a", ">", 1), ("b", ">", 1)), ORDER),
    "an in and an order": (find("pairs", ("a", "in", [1, 2]), by="+b"), COMPOSITE),
    "an equality and a descending order": (find("descending", A, by="-b"), COMPOSITE),
    "two descending orders": (find("descending", by="-a -b"), COMPOSITE),
    "names against the order": (find("named", A, by="+b -__name__"), NAME),
    "two equalities and an order": (find("restaurants", CATEGORY, CITY, by="+stars"), MERGING),
    "three equalities and an order": (find("restaurants", CATEGORY, CITY, PICK, by="+stars"), MERGING),
    "an equality and an array-contains by one index": (find("listed", A, TAGGED), COMPOSITE),
    "an equality in a group": (find("groups", A, group=True), SCOPES),
    "an equality and an order in a group": (find("groups", A, by="+b", group=True), SCOPES),
    "an equality and an order of an exempted field": (find("exempt", A, by="+b"), EXEMPTIONS),
}

REJECTED: dict[str, tuple[Find | Aggregate, str, str]] = {
    "an equality and an order": (find("plain", A, by="+b"), "COLLECTION +a +b", COMPOSITE),
    "an equality and a descending order": (find("plain", A, by="-b"), "COLLECTION +a -b", SDK_INDEXES),
    "an equality and a range": (find("plain", A, ("b", ">", 1)), "COLLECTION +a +b", COMPOSITE),
    "an equality and a not-equal": (find("plain", A, ("b", "!=", 1)), "COLLECTION +a +b", MODES),
    "an equality and a not-in": (find("plain", A, ("b", "not-in", [1])), "COLLECTION +a +b", MODES),
    "two orders": (find("plain", by="+a -b"), "COLLECTION +a -b", COMPOSITE),
    "two ranges": (find("plain", ("b", ">", 1), ("a", ">", 1)), "COLLECTION +a +b", ORDER),
    "two ranges in descending order": (
        find("plain", ("a", ">", 1), ("b", ">", 1), by="-b"),
        "COLLECTION -b -a",
        ANDROID_INDEXES,
    ),
    "an order with names against it": (find("plain", by="+a -__name__"), "COLLECTION +a -__name__", NAME),
    "an array-contains and an order": (find("plain", TAGGED, by="+a"), "COLLECTION @tags +a", COMPOSITE),
    "an array-contains in descending name order": (
        find("plain", TAGGED, by="-__name__"),
        "COLLECTION @tags -__name__",
        NAME,
    ),
    "an or with a range": (find("plain", either(("a", ">", 2), B)), "COLLECTION +b +a", SDK_INDEXES),
    "an in and an order": (find("plain", ("a", "in", [1, 2]), by="+b"), "COLLECTION +a +b", COMPOSITE),
    "sums of two fields": (add(find("plain", A), "d", "c"), "COLLECTION +a +c +d", ANDROID_INDEXES),
    "sums over an array-contains-any": (
        add(find("plain", ("tags", "array_contains_any", ["x", "y"])), "tags", "c"),
        "COLLECTION @tags +c +tags",
        ANDROID_INDEXES,
    ),
    "an index backwards": (find("pairs", A, by="-b"), "COLLECTION +a -b", DESCENDING),
    "an index of two orders backwards": (find("pairs", by="-a -b"), "COLLECTION -a -b", DESCENDING),
    "a descending index backwards": (find("descending", A, by="+b"), "COLLECTION +a +b", DESCENDING),
    "an index with names against the order": (find("named", A, by="+b"), "COLLECTION +a +b", NAME),
    "a merge of indexes backwards": (
        find("restaurants", CATEGORY, CITY, by="-stars"),
        "COLLECTION +category +city -stars",
        DESCENDING,
    ),
    "a merge of indexes that lack a field": (
        find("restaurants", CATEGORY, ("price", "==", 1), by="+stars"),
        "COLLECTION +category +price +stars",
        MERGING,
    ),
    "an index in another order": (find("pairs", by="+b +a"), "COLLECTION +b +a", COMPOSITE),
    "an order by an array-contains index": (find("listed", A, by="+tags"), "COLLECTION +a +tags", MODES),
    "a collection group by an index of collections": (
        find("pairs", A, by="+b", group=True),
        "COLLECTION_GROUP +a +b",
        SCOPES,
    ),
    "a collection by an index of collection groups": (
        find("groups", ("a", ">", 1), by="+a +b"),
        "COLLECTION +a +b",
        SCOPES,
    ),
}

OF_ONE_FIELD: dict[str, tuple[Find | Aggregate, list[str], str]] = {
    "an equality in a group": (
        find("plain", A, group=True),
        ["COLLECTION +", "COLLECTION_GROUP +", "COLLECTION @", "COLLECTION -"],
        SCOPES,
    ),
    "an array-contains in a group": (
        find("plain", TAGGED, group=True),
        ["COLLECTION +", "COLLECTION @", "COLLECTION_GROUP @", "COLLECTION -"],
        SCOPES,
    ),
    "an order in a group": (
        find("plain", by="-a", group=True),
        ["COLLECTION +", "COLLECTION @", "COLLECTION -", "COLLECTION_GROUP -"],
        SCOPES,
    ),
    "an equality in a group in descending name order": (
        find("plain", A, by="-__name__", group=True),
        ["COLLECTION +", "COLLECTION @", "COLLECTION -", "COLLECTION_GROUP -"],
        NAME,
    ),
    "an equality in a collection with an index of the group": (
        find("groups", A),
        ["COLLECTION +", "COLLECTION_GROUP +"],
        SCOPES,
    ),
    "an equality of an exempted field": (find("exempt", A), ["COLLECTION +"], EXEMPTIONS),
    "a range of an exempted field": (find("exempt", ("a", ">", 1), by="-a"), ["COLLECTION -"], EXEMPTIONS),
}

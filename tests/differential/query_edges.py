"""Reads at the limits of what Firestore accepts, and their results by the documentation."""

from typing import Any

from tests.differential.requests import (
    EVERYTHING,
    MAX_IN_VALUES,
    NAN,
    NULL,
    ONE,
    Step,
    array,
    average,
    contains,
    equal,
    field_equal,
    find,
    get,
    get_with_mask,
    joined,
    name_cursor,
    name_filter,
    near,
    pages_of,
    partitions,
    several,
    text,
    unary,
    vector,
    where,
)

BY_NAME = {"order_by": [{"field": {"field_path": "__name__"}}]}
BY_NUMBER = [{"field": {"field_path": "a"}}]
DEEP = ".".join("a" * 20)

REFUSED: dict[str, Step] = {
    "a query without a collection": find({}),
    "a query of two collections": find({"from_": [{"collection_id": "a"}, {"collection_id": "b"}]}),
    "a query of a path": find({"from_": [{"collection_id": "a/b/c"}]}),
    "a query of a reserved collection": find({"from_": [{"collection_id": "__x__"}]}),
    "a filter on a field of all collections": find({**where(op="EQUAL", value=ONE), "from_": [{}]}),
    "an order by a field of all collections": find({"from_": [{"all_descendants": True}], "order_by": BY_NUMBER}),
    "a group beneath a document": find({"from_": [{"collection_id": "a", "all_descendants": True}]}, "a/x"),
    "a query beneath a collection": find(EVERYTHING, "a"),
    "a negative page": pages_of("a", -1),
    "pages in an unknown direction": pages_of("a", order_by="a descending"),
    "pages in an order that ends with a comma": pages_of("a", order_by="a,"),
    "pages in an order of two words": pages_of("a", order_by="a b desc"),
    "pages with missing documents in an order": pages_of("a", order_by="__name__ desc", show_missing=True),
    "an order by a path of too many names": find({**EVERYTHING, "order_by": [{"field": {"field_path": DEEP + ".a"}}]}),
    "a filter on a path of too many names": find(where(path=DEEP + ".a", op="EQUAL", value=ONE)),
    "a negative offset": find({**EVERYTHING, "offset": -1}),
    "a negative limit": find({**EVERYTHING, "limit": -1}),
    "a filter without an operator": find(where(value=ONE)),
    "a filter without a value": find(where(op="EQUAL")),
    "a filter without a field": find(where(path="", op="EQUAL", value=ONE)),
    "in without an array": find(where(op="IN", value=ONE)),
    "in with an empty array": find(where(op="IN", value=several(0))),
    "in with too many": find(where(op="IN", value=several(MAX_IN_VALUES + 1))),
    "not in with too many": find(where(op="NOT_IN", value=several(11))),
    "not in with an empty array": find(where(op="NOT_IN", value=several(0))),
    "contains any with too many": find(where(op="ARRAY_CONTAINS_ANY", value=several(MAX_IN_VALUES + 1))),
    "the name compared with a string": find(where(path="__name__", op="EQUAL", value={"string_value": "x"})),
    "the name compared with a document elsewhere": find(
        where(path="__name__", op="EQUAL", value={"reference_value": "projects/p/databases/(default)/documents/a/x"})
    ),
    "the name compared with null": find(where(path="__name__", op="EQUAL", value={"null_value": 0})),
    "the name contains": find(where(path="__name__", op="ARRAY_CONTAINS", value=ONE)),
    "the name compared with a collection": name_filter("a"),
    "the name compared with a reserved id": name_filter("a/__x__"),
    "a reference to a collection in a filter": find(
        where(op="EQUAL", value={"reference_value": "projects/p/databases/(default)/documents/a"})
    ),
    "a cursor at a collection": name_cursor("a"),
    "a cursor at a reserved id": name_cursor("a/__x__"),
    "a composite filter without filters": find({**EVERYTHING, "where": {"composite_filter": {"op": "AND"}}}),
    "a composite filter without an operator": find(
        {**EVERYTHING, "where": {"composite_filter": {"filters": [where(op="EQUAL", value=ONE)["where"]]}}}
    ),
    "a filter with an unknown operator": find(where(op=99, value=ONE)),
    "a unary filter with an unknown operator": find(unary(99, "a")),
    "a name that is not null": find(unary("IS_NOT_NULL", "__name__")),
    "a unary filter without an operator": find(
        {**EVERYTHING, "where": {"unary_filter": {"field": {"field_path": "a"}}}}
    ),
    "an order without a field": find({**EVERYTHING, "order_by": [{}]}),
    "an order by a field and by the field in quotes": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": "a"}}, {"field": {"field_path": "`a`"}}]}
    ),
    "an order by a field after the name in quotes": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": "`__name__`"}}, {"field": {"field_path": "a"}}]}
    ),
    "an order in an unknown direction": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": "a"}, "direction": 3}]}
    ),
    "an order by a field twice": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": "a"}}, {"field": {"field_path": "a"}}]}
    ),
    "a cursor with too many values": find({**EVERYTHING, "start_at": {"values": [ONE, ONE]}}),
    "a cursor with a value for the order by name": name_cursor("a/x", []),
    "a cursor without an order": find({**EVERYTHING, "start_at": {"values": [ONE]}}),
    "a cursor at a document elsewhere": find(
        {
            **EVERYTHING,
            "order_by": [{"field": {"field_path": "__name__"}}],
            "start_at": {"values": [{"reference_value": "projects/p/databases/(default)/documents/a/x"}]},
        }
    ),
    "a cursor at a value instead of a name": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": "__name__"}}], "start_at": {"values": [ONE]}}
    ),
    "a cursor at no value": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": "a"}}], "start_at": {"values": [{}]}}
    ),
    "a projection of no path": find({**EVERYTHING, "select": {"fields": [{"field_path": ""}]}}),
    "a search without a field": find(near(vector_field=None)),
    "a search without a vector": find(near(query_vector=None)),
    "a search for an array": find(near(query_vector=array(ONE))),
    "a search without a distance": find(near(distance_measure=None)),
    "a search without a limit": find(near(limit=None)),
    "a search with a limit of zero": find(near(limit=0)),
    "a search with too large a limit": find(near(limit=1001)),
    "a search up to an infinite distance": find(near(distance_threshold=float("inf"))),
    "a search up to NaN": find(near(distance_threshold=float("nan"))),
    "a search with a reserved field": find(near(distance_result_field="__x__")),
    "a search with a query's limit": find({**near(), "limit": 1}),
    "a search with an offset": find({**near(), "offset": 1}),
    "a search with a cursor": find({**near(), "start_at": {"values": []}}),
    "a mask with a reserved name inside": get("a/x", mask={"field_paths": ["a.__x__"]}),
    "a projection of a reserved name": find({**EVERYTHING, "select": {"fields": [{"field_path": "__x__"}]}}),
    "a filter with a string that is too long": find(where(op="EQUAL", value=text(1500))),
    "a filter with an array that is too long": find(where(op="LESS_THAN", value=array(text(800), text(800)))),
    "in with a string that is too long": find(where(op="IN", value=array(text(1), text(1500)))),
    "a filter on a reserved name": find(where(path="__x__", op="EQUAL", value=ONE)),
    "an order by a reserved name": find({**EVERYTHING, "order_by": [{"field": {"field_path": "a.__name__"}}]}),
    "array contains of two values": find(joined("AND", contains(1), contains(2))),
    "array contains of a value in two forms": find(
        joined("AND", contains(1), where(path="list", op="ARRAY_CONTAINS_ANY", value=array(ONE)))
    ),
    "too many different disjunctions": find(joined("OR", *map(equal, range(MAX_IN_VALUES + 1)))),
    "too many disjunctions, with one of null and NaN": find(
        joined("AND", where(op="IN", value=several(15, NULL, NAN)), where(path="b", op="IN", value=several(2)))
    ),
    "too many disjunctions, with contains null": find(
        joined("OR", where(op="IN", value=several(MAX_IN_VALUES)), where(path="list", op="ARRAY_CONTAINS", value=NULL))
    ),
    "too many disjunctions, with less than null": find(
        joined("OR", where(op="IN", value=several(MAX_IN_VALUES)), where(path="b", op="LESS_THAN", value=NULL))
    ),
    "array contains of a number and of null": find(
        joined("AND", contains(1), where(path="list", op="ARRAY_CONTAINS", value=NULL))
    ),
    "not in null and a number, by name": find({**where(op="NOT_IN", value=array(NULL, ONE)), **BY_NAME}),
    "not in null and NaN, by name": find({**where(op="NOT_IN", value=array(NULL, NAN)), **BY_NAME}),
    "not equal to NaN, by name": find({**where(op="NOT_EQUAL", value=NAN), **BY_NAME}),
    "too many conditions": find(joined("AND", *map(field_equal, range(101)))),
    "too many repetitions of a condition": find(joined("AND", *[equal(1)] * 101)),
    "too many conditions and orders": find({**joined("AND", *map(field_equal, range(100))), "order_by": BY_NUMBER}),
    "too many conditions beneath a document": find(joined("AND", *map(field_equal, range(100))), "a/x"),
    "too many conditions and operands": find(
        joined("AND", where(op="IN", value=several(2)), *map(field_equal, range(99)))
    ),
    "too many orders": find(
        {**EVERYTHING, "order_by": [{"field": {"field_path": f"a{number}"}} for number in range(101)]}
    ),
    "inequalities of too many fields": find(
        joined("AND", *[where(path=f"a{number}", op="LESS_THAN", value=ONE) for number in range(11)])
    ),
    "an average of the name": average("__name__"),
    "an average of a query with a projection": average("a", select={"fields": [{"field_path": "a"}]}),
    "an average of all descendants of a document": average("a", parent="a/x", from_=[{"all_descendants": True}]),
    "an average with a reserved alias": average("a", "__x__"),
    "a read of a collection": get("a"),
    "a mask of a missing document with a double dot": get("a/none", mask={"field_paths": ["a..b"]}),
    "a mask of missing documents with a double dot": get_with_mask("a/none", "a..b"),
    "a read before the epoch": get("a/x", read_time="1969-12-31T00:00:00Z"),
    "a read with nanoseconds": get("a/x", read_time="2020-01-01T00:00:00.000000001Z"),
    "a read in the future": get("a/x", read_time="2999-01-01T00:00:00Z"),
}
ACCEPTED: dict[str, tuple[Step, Any]] = {
    "a query of all descendants": (find({"from_": [{"all_descendants": True}]}), 2),
    "a query of all children": (find({"from_": [{}]}), 1),
    "an order by a path of as many names as allowed": (
        find({**EVERYTHING, "order_by": [{"field": {"field_path": DEEP}}]}),
        0,
    ),
    "no limit": (find({**EVERYTHING, "limit": 0}), 0),
    "an equality with an array": (find(where(op="EQUAL", value=several(2))), 0),
    "in with as many as allowed": (find(where(op="IN", value=several(MAX_IN_VALUES))), 1),
    "not in with as many as allowed": (find(where(op="NOT_IN", value=several(10))), 0),
    "not in with null": (
        find(where(op="NOT_IN", value={"array_value": {"values": [{"null_value": 0}, {"integer_value": 1}]}})),
        0,
    ),
    "contains an array": (find(where(op="ARRAY_CONTAINS", value=several(1))), 0),
    "less than a number, of NaN": (find(where(path="nan", op="LESS_THAN", value=ONE)), 0),
    "less than NaN": (find(where(op="LESS_THAN", value=NAN)), 0),
    "at least NaN": (find(where(path="nan", op="GREATER_THAN_OR_EQUAL", value=NAN)), 0),
    "equal to NaN": (find(where(path="nan", op="EQUAL", value=NAN)), 0),
    "not equal to NaN, of NaN": (find(where(path="nan", op="NOT_EQUAL", value=NAN)), 1),
    "not equal to NaN, of null": (find(where(path="null", op="NOT_EQUAL", value=NAN)), 0),
    "in NaN": (find(where(path="nan", op="IN", value=array(NAN))), 0),
    "not in NaN, of NaN": (find(where(path="nan", op="NOT_IN", value=array(NAN))), 1),
    "contains NaN": (find(where(path="list", op="ARRAY_CONTAINS", value=NAN)), 0),
    "contains, inside a vector": (
        find(where(path="vector.value", op="ARRAY_CONTAINS", value={"double_value": 2})),
        0,
    ),
    "contains, inside a vector, in an order": (
        find({**where(path="vector.value", op="ARRAY_CONTAINS", value={"double_value": 2}), "order_by": BY_NUMBER}),
        0,
    ),
    "an order by a field inside a vector": (
        find({**EVERYTHING, "order_by": [{"field": {"field_path": "vector.value"}}]}),
        0,
    ),
    "an array with NaN": (find(where(path="list", op="EQUAL", value=array(ONE, NULL, NAN))), 1),
    "as many disjunctions as allowed, with one of null and NaN": (
        find(joined("AND", where(op="IN", value=several(14, NULL, NAN)), where(path="a", op="IN", value=several(2)))),
        1,
    ),
    "at least null, by name": (find({**where(op="GREATER_THAN_OR_EQUAL", value=NULL), **BY_NAME}), 0),
    "less than NaN, by name": (find({**where(op="LESS_THAN", value=NAN), **BY_NAME}), 0),
    "not equal to null, by name": (find({**where(op="NOT_EQUAL", value=NULL), **BY_NAME}), 0),
    "not in null, by name": (find({**where(op="NOT_IN", value=array(NULL)), **BY_NAME}), 0),
    "less than null or equal, by name": (
        find({**joined("OR", where(path="null", op="LESS_THAN", value=NULL), equal(1)), **BY_NAME}),
        1,
    ),
    "comparisons of many fields with null": (
        find(joined("AND", *[where(path=f"a{number}", op="LESS_THAN", value=NULL) for number in range(11)])),
        0,
    ),
    "at most null": (find(where(path="null", op="LESS_THAN_OR_EQUAL", value=NULL)), 0),
    "equal to null": (find(where(path="null", op="EQUAL", value=NULL)), 0),
    "not equal to null": (find(where(op="NOT_EQUAL", value=NULL)), 0),
    "in null": (find(where(path="null", op="IN", value=array(NULL))), 0),
    "not in null": (find(where(op="NOT_IN", value=array(NULL))), 0),
    "array contains of a value twice": (find(joined("AND", contains(1), contains(1))), 1),
    "many repetitions of a disjunction": (find(joined("OR", *[equal(1)] * (MAX_IN_VALUES + 1))), 1),
    "disjunctions with the same conditions": (
        find(joined("AND", joined("OR", *map(equal, range(6))), joined("OR", *map(equal, range(5, -1, -1))))),
        1,
    ),
    "contains null": (find(where(path="list", op="ARRAY_CONTAINS", value=NULL)), 0),
    "as many conditions as allowed": (find(joined("AND", *map(field_equal, range(100)))), 0),
    "as many conditions beneath a document as allowed": (find(joined("AND", *map(field_equal, range(99))), "a/x"), 0),
    "an equality with a long array": (find(where(op="EQUAL", value=several(101))), 0),
    "inequalities of as many fields as allowed": (
        find(joined("AND", *[where(path=f"a{number}", op="LESS_THAN", value=ONE) for number in range(10)])),
        0,
    ),
    "an order without a direction": (find({**EVERYTHING, "order_by": [{"field": {"field_path": "a"}}]}), 1),
    "a cursor without values": (find({**EVERYTHING, "start_at": {}}), 0),
    "the name after the first possible id": (name_filter("a/__id-9223372036854775808__"), 1),
    "a cursor at the first possible id": (name_cursor("a/__id-9223372036854775808__"), 1),
    "a filter with a string of the greatest length": (find(where(op="EQUAL", value=text(1499))), 0),
    "pages in an order": (pages_of("a", order_by="a DESC, list asc"), ["…/documents/a/x"]),
    "pages in the order of a quoted field": (pages_of("a", order_by="`b, c desc` desc"), []),
    "a search": (find(near()), 1),
    "a search in a map": (find(near("map.vector")), 1),
    "a search of all descendants": (find({**near(), "from_": [{"collection_id": "a", "all_descendants": True}]}), 2),
    "a search up to a distance": (find(near(distance_threshold=0.5)), 0),
    "a search for a vector with NaN": (find(near(query_vector=vector(NAN))), 1),
    "equal to a vector with NaN": (find(where(path="vector", op="EQUAL", value=vector(NAN))), 0),
    "a search in an order": (find({**near(), "order_by": [{"field": {"field_path": "missing"}}]}), 0),
    "an average of all descendants of the root": (average("a", from_=[{"all_descendants": True}]), ["double_value"]),
    "an average of all children of a document": (average("a", parent="a/x", from_=[{}]), ["double_value"]),
    "an average of a missing field": (average("missing"), ["null_value"]),
    "partitions of a few documents": (partitions("a"), 0),
}

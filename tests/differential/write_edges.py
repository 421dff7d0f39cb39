"""Writes at the limits of what Firestore accepts, and their results by the documentation."""

from typing import Any

from tests.differential.requests import (
    MAX_ID_LENGTH,
    NAN,
    ONE,
    VECTOR,
    Step,
    batch_write,
    commit,
    commit_of,
    create,
    delete,
    increments,
    legacy_transform,
    members_of,
    nested,
    rollback,
    several,
    transform,
    update,
    update_times,
    vector,
)

OTHER_DOCUMENTS = "projects/p/databases/(default)/documents"
MAP = {"map_value": {"fields": {"a": ONE}}}

DEEP = ".".join("a" * 20)

REFUSED: dict[str, Step] = {
    "a write without an operation": commit(lambda _: {}),
    "a collection as a document": commit(update("a", {})),
    "a document without an id": commit(update("a/", {})),
    "an empty segment": commit(update("a//b/c", {})),
    "an id that is a dot": commit(update("a/.", {})),
    "an id that is two dots": commit(update("a/..", {})),
    "a reserved id": commit(update("a/__x__", {})),
    "a reserved collection": commit(update("__x__/x", {})),
    "a collection with a numeric id": commit(update("__id7__/x", {})),
    "a numeric id that is zero": commit(update("a/__id0__", {})),
    "a numeric id of more than 64 bits": commit(update("a/__id9223372036854775808__", {})),
    "a document of another database": commit(lambda _: {"delete": "projects/p/databases/other/documents/a/x"}),
    "a path for a collection": create("a/x/b", "y"),
    "a path for a document": create("a", "y/b/z"),
    "a name in a document to create": create("a", "y", {"name": "a/y"}),
    "an invalid name": commit(lambda _: {"delete": "a/x"}),
    "an empty field name": commit(update("a/x", {"": ONE})),
    "a reserved field name": commit(update("a/x", {"__x__": ONE})),
    "a reserved field name inside": commit(update("a/x", {"a": {"map_value": {"fields": {"__x__": ONE}}}})),
    "an array in an array": commit(update("a/x", {"a": {"array_value": {"values": [several(1)]}}})),
    "an unset value": commit(update("a/x", {"a": {}})),
    "a latitude out of range": commit(update("a/x", {"a": {"geo_point_value": {"latitude": 91}}})),
    "a longitude out of range": commit(update("a/x", {"a": {"geo_point_value": {"longitude": -181}}})),
    "a reference to a collection": commit(update("a/x", {"a": {"reference_value": OTHER_DOCUMENTS + "/a"}})),
    "a reference to a reserved id": commit(update("a/x", {"a": {"reference_value": OTHER_DOCUMENTS + "/a/__x__"}})),
    "an invalid reference": commit(update("a/x", {"a": {"reference_value": "a/x"}})),
    "a mask with a reserved name": commit(update("a/x", {}, update_mask={"field_paths": ["__x__"]})),
    "a mask with the name inside": commit(update("a/x", {}, update_mask={"field_paths": ["a.__name__"]})),
    "a mask with an unquoted dash": commit(update("a/x", {}, update_mask={"field_paths": ["a-b"]})),
    "a mask with an empty path": commit(update("a/x", {}, update_mask={"field_paths": [""]})),
    "a mask with a double dot": commit(update("a/x", {}, update_mask={"field_paths": ["a..b"]})),
    "a mask with a path of too many names": commit(update("a/x", {}, update_mask={"field_paths": [DEEP + ".a"]})),
    "a mask with an open quote": commit(update("a/x", {}, update_mask={"field_paths": ["`a"]})),
    "a delete with transforms": commit(
        delete("a/x", update_transforms=[{"field_path": "a", "increment": {"integer_value": 1}}])
    ),
    "too many transforms": commit(increments("a/x", 501)),
    "too many transforms in two writes": commit(increments("a/x", 500), increments("a/x", 1)),
    "a transform without an operation": commit(transform("a/x", {"field_path": "a"})),
    "a transform without a path": commit(transform("a/x", {"increment": ONE})),
    "an unknown server value": commit(transform("a/x", {"field_path": "a", "set_to_server_value": 0})),
    "a transform and another inside of its field": commit(
        transform("a/x", {"field_path": "a.b.c", "increment": ONE}, {"field_path": "a", "increment": ONE})
    ),
    "an increment by a string": commit(transform("a/x", {"field_path": "a", "increment": {"string_value": "1"}})),
    "a maximum with null": commit(transform("a/x", {"field_path": "a", "maximum": {"null_value": 0}})),
    "a legacy transform with a mask": commit(legacy_transform("a/x", update_mask={"field_paths": ["a"]})),
    "a legacy transform with other transforms": commit(
        legacy_transform("a/x", update_transforms=[{"field_path": "a", "increment": ONE}])
    ),
    "a legacy transform without transforms": commit(lambda server: {"transform": {"document": server.name_of("a/x")}}),
    "a batch with a document twice": batch_write(update("a/x", {}), update("a/x", {})),
    "a batch with a document twice, first with an invalid field": batch_write(
        update("a/x", {"__x__": ONE}), update("a/x", {})
    ),
    "a batch with a document twice, then with an invalid field": batch_write(
        delete("a/x"), update("a/x", {"__x__": ONE})
    ),
    "a vector with NaN": commit(update("a/y", {"a": vector(NAN)})),
    "a vector with NaN in a map": commit(update("a/y", {"a": {"map_value": {"fields": {"b": vector(NAN)}}}})),
    "an unknown transaction": commit_of(b"none"),
    "a rollback without a transaction": rollback(b""),
    "a commit with a vector in an array": commit(update("a/y", {"a": {"array_value": {"values": [VECTOR]}}})),
    "a document that is too large": commit(update("a/y", {"a": {"bytes_value": b"x" * (1 << 20)}})),
    "an id that is too long": commit(update("a/" + "x" * (MAX_ID_LENGTH + 1), {})),
    "a field name that is too long": commit(update("a/y", {"x" * (MAX_ID_LENGTH + 1): ONE})),
    "a path that is too long": commit(update("a/y", {"x" * 800: {"map_value": {"fields": {"x" * 700: ONE}}}})),
    "a path in an array that is too long": commit(
        update("a/y", {"x" * 800: {"array_value": {"values": [{"map_value": {"fields": {"x" * 700: ONE}}}]}}})
    ),
    "maps that are too deep": commit(update("a/y", {"a": nested(21)})),
    "an array with too many index entries": commit(update("a/y", {"a": several(40_001)})),
    "fields with too many index entries": commit(update("a/y", {f"a{number}": ONE for number in range(20_001)})),
    "a batch of too many writes": batch_write(*(update(f"a/{number}", {}) for number in range(501))),
    "an update time before the epoch": commit(
        update("a/x", {}, current_document={"update_time": "1969-12-31T00:00:00Z"})
    ),
    "an update time with nanoseconds": commit(
        update("a/x", {}, current_document={"update_time": "2020-01-01T00:00:00.000000001Z"})
    ),
    "an update time in the future": commit(update("a/x", {}, current_document={"update_time": "2999-01-01T00:00:00Z"})),
}
ACCEPTED: dict[str, tuple[Step, Any]] = {
    "no write": (commit(), 0),
    "an id that begins like a reserved one": (commit(update("a/__x", {})), 1),
    "an id of the greatest length": (commit(update("a/" + "x" * MAX_ID_LENGTH, {})), 1),
    "a mask with a path of as many names as allowed": (
        commit(update("a/x", {}, update_mask={"field_paths": [DEEP]})),
        1,
    ),
    "a numeric id of 64 bits": (commit(update("a/__id-9223372036854775808__", {})), 1),
    "a reference to another database": (commit(update("a/x", {"a": {"reference_value": OTHER_DOCUMENTS + "/a/x"}})), 1),
    "the update time of a missing document": (
        commit(update("a/none", {}, current_document={"update_time": "1970-01-01T00:00:00Z"})),
        "FAILED_PRECONDITION",
    ),
    "a delete with the update time of a missing document": (
        commit(delete("a/none", current_document={"update_time": "1970-01-01T00:00:00Z"})),
        "FAILED_PRECONDITION",
    ),
    "a path of the greatest length": (
        commit(update("a/y", {"x" * 800: {"map_value": {"fields": {"x" * 699: ONE}}}})),
        1,
    ),
    "transforms of fields with similar names": (
        commit(transform("a/x", {"field_path": "a", "increment": ONE}, {"field_path": "ab.c", "increment": ONE})),
        1,
    ),
    "a NUL in an id": (commit(update("a/x\0", {})), 1),
    "an array in a map in an array": (
        commit(update("a/x", {"a": {"array_value": {"values": [{"map_value": {"fields": {"a": several(1)}}}]}}})),
        1,
    ),
    "maps as deep as allowed": (commit(update("a/x", {"a": nested(19)})), 1),
    "a mask with a field that is not sent": (commit(update("a/x", {}, update_mask={"field_paths": ["a"]})), 1),
    "a mask without a field that is sent": (commit(update("a/x", {"b": ONE}, update_mask={"field_paths": ["a"]})), 1),
    "a mask with a path and its parent": (commit(update("a/x", {}, update_mask={"field_paths": ["a", "a.b"]})), 1),
    "a field inside a vector": (
        members_of("vector", update("a/x", {"vector": MAP}, update_mask={"field_paths": ["vector.a"]})),
        ["a"],
    ),
    "a transform inside a vector": (
        members_of("vector", transform("a/x", {"field_path": "vector.a", "increment": ONE})),
        ["a"],
    ),
    "a deleted field inside a vector": (
        members_of("vector", update("a/x", {}, update_mask={"field_paths": ["vector.value"]})),
        ["__type__", "value"],
    ),
    "as many transforms as allowed": (commit(increments("a/x", 500), increments("a/y", 500)), 2),
    "a mask with a path twice": (commit(update("a/x", {}, update_mask={"field_paths": ["a", "a"]})), 1),
    "a mask with the name": (commit(update("a/x", {}, update_mask={"field_paths": ["__name__"]})), 1),
    "a transform twice": (
        commit(transform("a/x", {"field_path": "a", "increment": ONE}, {"field_path": "a", "increment": ONE})),
        1,
    ),
    "a transform of a field that is written": (
        commit(update("a/x", {"a": ONE}, update_transforms=[{"field_path": "a", "increment": ONE}])),
        1,
    ),
    "a transform inside a field that is written": (
        commit(update("a/x", {"a": ONE}, update_transforms=[{"field_path": "a.b", "increment": ONE}])),
        1,
    ),
    "a legacy transform": (commit(legacy_transform("a/x")), 1),
    "an empty batch": (batch_write(), []),
    "a batch with a refused precondition": (
        batch_write(update("a/x", {}, current_document={"exists": True}), update("a/y", {})),
        [0, 0],
    ),
    "a rollback of an unknown transaction": (rollback(b"none"), None),
    "a batch with a vector in an array": (
        batch_write(update("a/y", {"a": {"array_value": {"values": [VECTOR]}}}), update("a/z", {})),
        [3, 0],
    ),
    "a delete and a set of one document": (update_times(delete("a/x"), update("a/x", {})), [False, True]),
}

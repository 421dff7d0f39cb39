"""Values of every type, including those at which wrong orders and wrong equalities show.

Most are drawn from short lists, so that documents, filters and cursors often share a value. A reference and a
transform depend on the server, so `resolve` creates them.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.cloud import firestore
from google.cloud.firestore import GeoPoint
from google.cloud.firestore_v1.vector import Vector
from hypothesis import strategies as st

from tests.differential.compared_servers import ComparedServer


@dataclass(frozen=True)
class Reference:
    """A reference to a document of the same database."""

    path: str


@dataclass(frozen=True)
class Transform:
    """A field transform. Unlike the classes of the client, it prints its operand."""

    kind: str
    operand: Any = None

    def resolve(self, server: ComparedServer) -> Any:
        """Return the transform as an object of the client."""
        if self.kind == "server time":
            return firestore.SERVER_TIMESTAMP
        return _TRANSFORMS[self.kind](resolve(self.operand, server))


_TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "increment": firestore.Increment,
    "maximum": firestore.Maximum,
    "minimum": firestore.Minimum,
    "union": firestore.ArrayUnion,
    "remove": firestore.ArrayRemove,
}
IDS = ("x", "y", "xy", "é", "\uffff", "😀", "x y", "x.y", "x-", "x`", "1", "10", "9", "~", "_")
COLLECTIONS = ("a", "b", "ab", "a-", "é")
FIELDS = ("a", "b", "c", "é", "a.b", "a b", "a`b", "a\\b", "1", "-", "😀", "\uffff")

_INTEGERS = (0, 1, -1, 2, 10, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63 - 2, -(2**63))
_DOUBLES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    1e-320,
    1.7e308,
    2.0**53,
    2.0**63,
    float("nan"),
    float("inf"),
    -float("inf"),
)
_TEXTS = ("", "a", "ab", "b", "é", "e\u0301", "\uffff", "😀", "a\0", "a\0b", "a/b", "A", "1")
_BYTES = (b"", b"\0", b"a", b"ab", b"\xff", b"\xff\0", b"\x80")
_UTC = datetime.UTC
_TIMES = (
    datetime.datetime(1, 1, 1, tzinfo=_UTC),
    datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=_UTC),
    datetime.datetime(1970, 1, 1, tzinfo=_UTC),
    datetime.datetime(2019, 5, 1, 10, 0, 0, 1, tzinfo=_UTC),
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=_UTC),
)
_PATHS = ("a/x", "a/y", "a/x/a/x", "b/x", "a-/x", "a/é", "a/😀", "a/\uffff")
_POINTS = (GeoPoint(0, 0), GeoPoint(-90, 180), GeoPoint(90, -180), GeoPoint(0.5, 0.25), GeoPoint(0.5, -0.25))

numbers = st.sampled_from((*_INTEGERS, *_DOUBLES))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from(_TEXTS),
    st.sampled_from(_BYTES),
    st.sampled_from(_TIMES),
    st.sampled_from(_POINTS),
    st.sampled_from(_PATHS).map(Reference),
)
rare = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.datetimes(timezones=st.just(_UTC)),
)
names = st.sampled_from(FIELDS)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    elements = inner.filter(lambda value: not isinstance(value, list | Vector))
    return st.one_of(st.lists(elements, max_size=4), st.dictionaries(names, inner, max_size=3))


vectors = st.lists(st.sampled_from([value for value in _DOUBLES if value == value]), min_size=1, max_size=3).map(Vector)
values = st.recursive(st.one_of(scalars, scalars, rare, vectors), _containers, max_leaves=6)
common = st.sampled_from((0, 1, 1.0, 2, "a", "b", None, True, float("nan"), [1, "a"], ["a"], [None, 1], {"a": 1}))
common_or_any = st.booleans().flatmap(
    lambda usual: common if usual else values
)  # one_of(common, values) would draw `common` rarely
documents = st.dictionaries(names, values, max_size=4)

elements = st.lists(scalars, min_size=1, max_size=3)
transforms = st.one_of(
    st.just(Transform("server time")),
    st.builds(Transform, st.sampled_from(("increment", "maximum", "minimum")), numbers),
    st.builds(Transform, st.sampled_from(("union", "remove")), elements),
)


def resolve(value: Any, server: ComparedServer) -> Any:
    """Return a value as an object of the client of a server."""
    if isinstance(value, Reference):
        return server.client.document(value.path)
    if isinstance(value, Transform):
        return value.resolve(server)
    if isinstance(value, list) and not isinstance(value, Vector):
        return [resolve(element, server) for element in value]
    if isinstance(value, dict):
        return {name: resolve(element, server) for name, element in value.items()}
    return value

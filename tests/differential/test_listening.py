"""Listeners: the same snapshots with the same changes, commit by commit."""

from contextlib import ExitStack, closing

from google.cloud.firestore import Query
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.examples import examples
from tests.differential.queries import Filter, Find, Order
from tests.differential.sides import Both, Side
from tests.differential.watching import Watched
from tests.differential.writes import Commit, Delete, Set, Update

paths = st.sampled_from(("a/w", "a/x", "a/y", "a/z", "b/x"))
numbers = st.integers(0, 3)
documents = st.fixed_dictionaries({"a": numbers}, optional={"b": numbers})
writes = st.one_of(
    st.builds(Set, paths, documents, st.booleans()),
    st.builds(Set, paths, documents, st.booleans()),
    st.builds(Update, paths, st.dictionaries(st.just(("a",)), numbers, min_size=1), st.none()),
    st.builds(Delete, paths, st.none()),
)
commits = st.builds(Commit, st.lists(writes, min_size=1, max_size=4).map(tuple))
by_number = [(Order(("a",), direction),) for direction in (Query.ASCENDING, Query.DESCENDING)]
queries = st.builds(
    Find,
    collection=st.just("a"),
    group=st.booleans(),
    where=st.sampled_from((None, Filter(("a",), ">=", 1), Filter(("a",), "==", 1), Filter(("b",), "in", [1, 2]))),
    orders=st.sampled_from(((), *by_number)),
    cursors=st.just(()),
    offset=st.none(),
    limit=st.one_of(st.none(), st.integers(1, 3)),
    last=st.just(False),
    projection=st.none(),
)


@given(stored=commits, query=queries, steps=st.lists(commits, min_size=1, max_size=5))
@examples(0.5, shrinks=False)  # an example that fails waits for what does not come
def test_what_listeners_are_shown(both: Both, stored: Commit, query: Find, steps: list[Commit]) -> None:
    """A listener on a document and one on a query see each commit as one snapshot, and nothing else."""
    both.start_over()
    both.agree_on(stored)

    with ExitStack() as open_listeners:
        listeners = [
            [open_listeners.enter_context(closing(Watched(side, target))) for target in _targets(side, query)]
            for side in (both.emulator, both.embedded)
        ]
        for step in (None, *steps):
            if step is not None:
                both.agree_on(step)
            for listener in (*listeners[0], *listeners[1]):
                listener.settle()
        for one, other in zip(*listeners, strict=True):  # a snapshot may be under way that changes no values
            one.catch_up(other)
            other.catch_up(one)

    expected, found = ([listener.shown for listener in side] for side in listeners)
    assert found == expected, f"the embedded Firestore shows\n{found}\nthe emulator shows\n{expected}"


def _targets(side: Side, query: Find) -> tuple[object, object]:
    return side.client.document("a/x"), query.build(side)

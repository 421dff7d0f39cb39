"""Listeners on both servers receive the same snapshots with the same changes."""

from contextlib import ExitStack, closing

from google.cloud.firestore import Query
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.compared_servers import ComparedServer, ServerPair
from tests.differential.examples import examples
from tests.differential.queries import Filter, Find, Order
from tests.differential.recorded_listener import RecordedListener
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
    is_limit_to_last=st.just(False),
    projection=st.none(),
)


@given(stored=commits, query=queries, steps=st.lists(commits, min_size=1, max_size=5))
@examples(0.5, shrinks=False)  # a failing example waits for a snapshot until the timeout
def test_listeners_receive_the_same_snapshots(
    pair: ServerPair, stored: Commit, query: Find, steps: list[Commit]
) -> None:
    """Listeners on a document and on a query receive one snapshot for each commit."""
    pair.use_empty_project()
    pair.compare(stored)

    with ExitStack() as open_listeners:
        listeners = [
            [
                open_listeners.enter_context(closing(RecordedListener(server, target)))
                for target in _targets(server, query)
            ]
            for server in (pair.emulator, pair.embedded)
        ]
        for step in (None, *steps):
            if step is not None:
                pair.compare(step)
            for listener in (*listeners[0], *listeners[1]):
                listener.wait_until_current()
        for one, other in zip(*listeners, strict=True):  # a snapshot that changes no values can still arrive
            one.wait_for_as_many_as(other)
            other.wait_for_as_many_as(one)

    expected, received = ([listener.snapshots for listener in server] for server in listeners)
    assert received == expected, f"the embedded Firestore sends\n{received}\nthe emulator sends\n{expected}"


def _targets(server: ComparedServer, query: Find) -> tuple[object, object]:
    return server.client.document("a/x"), query.build(server)

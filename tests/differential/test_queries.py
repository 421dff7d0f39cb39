"""Queries and aggregations over random documents return the same on both servers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.differential.compared_servers import ServerPair
from tests.differential.examples import examples
from tests.differential.queries import aggregations, few, finds, group_finds
from tests.differential.values import IDS, common_or_any
from tests.differential.writes import Commit, Set

paths = st.one_of(
    st.sampled_from(("a/x", "a/y", "a/xy", "a/é", "a/10")),
    st.sampled_from(IDS).map("a/{}".format),
    st.sampled_from(("a/x/a/x", "a/x/a/y", "b/x", "b/x/a/x", "b/x/b/y")),
)
map_values = st.dictionaries(st.sampled_from(few), common_or_any, max_size=3)
contents = st.booleans().flatmap(lambda is_deep: map_values if is_deep else common_or_any)
documents = st.dictionaries(st.sampled_from(few), contents, min_size=1, max_size=4)
stored = st.lists(st.builds(Set, paths, documents, st.just(False)), min_size=3, max_size=12)
queries = st.lists(st.one_of(finds(), finds(), group_finds(), aggregations), min_size=3, max_size=10)


@given(stored=stored, queries=queries)
@examples()
def test_queries_return_the_same(pair: ServerPair, stored: list[Set], queries: list[Any]) -> None:
    """Documents, their order and fields, aggregations and refusals are equal."""
    pair.use_empty_project()
    pair.compare(Commit(tuple(stored)))

    for query in queries:
        pair.compare(query)

"""Queries of every kind over documents of every kind, and figures about what they find."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.differential.examples import examples
from tests.differential.queries import aggregations, few, finds, group_finds
from tests.differential.sides import Both
from tests.differential.values import IDS, likely
from tests.differential.writes import Commit, Set

places = st.one_of(
    st.sampled_from(("a/x", "a/y", "a/xy", "a/é", "a/10")),
    st.sampled_from(IDS).map("a/{}".format),
    st.sampled_from(("a/x/a/x", "a/x/a/y", "b/x", "b/x/a/x", "b/x/b/y")),
)
within = st.dictionaries(st.sampled_from(few), likely, max_size=3)
contents = st.booleans().flatmap(lambda deep: within if deep else likely)
documents = st.dictionaries(st.sampled_from(few), contents, min_size=1, max_size=4)
stored = st.lists(st.builds(Set, places, documents, st.just(False)), min_size=3, max_size=12)
asked = st.lists(st.one_of(finds(), finds(), group_finds(), aggregations), min_size=3, max_size=10)


@given(stored=stored, asked=asked)
@examples()
def test_what_queries_find(both: Both, stored: list[Set], asked: list[Any]) -> None:
    """The same documents, in the same order, with the same fields; the same figures; the same refusals."""
    both.start_over()
    both.agree_on(Commit(tuple(stored)))

    for query in asked:
        both.agree_on(query)

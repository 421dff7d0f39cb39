"""The cache of callers has a limited size, and the credentials of one submitter do not displace those of others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphql_api.auth import authenticator
from graphql_api.auth.authenticator import CacheEntry, CallerCache
from graphql_api.auth.caller import Caller


def entry(submitter: str) -> CacheEntry:
    """Return an entry of a submitter."""
    return CacheEntry(Caller(submitter, frozenset(), "key 0123456789ab"), 1.0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the cache to four entries, and to two of each submitter if it is full."""
    monkeypatch.setattr(authenticator, "MAX_CACHED_CALLERS", 4)
    monkeypatch.setattr(authenticator, "MAX_CACHED_CALLERS_PER_SUBMITTER", 2)


def test_many_credentials_of_one_submitter_do_not_displace_another() -> None:
    """Only the most recently used credentials of that submitter are kept."""
    cache = CallerCache()
    cache.put("victim", entry("one"))
    for number in range(9):
        cache.put(str(number), entry("two"))

    assert cache.get("victim") == entry("one")
    assert [str(number) for number in range(9) if str(number) in cache] == ["6", "7", "8"]


def test_the_least_recently_used_entry_is_removed() -> None:
    """The use of an entry counts, not its age."""
    cache = CallerCache()
    for name in "abcd":
        cache.put(name, entry(name))
    cache.get("a")

    cache.put("e", entry("e"))

    assert [name for name in "abcde" if name in cache] == ["a", "c", "d", "e"]


@given(
    st.lists(st.tuples(st.sampled_from(["put", "get", "remove"]), st.sampled_from("abcdefgh"), st.sampled_from("xyz")))
)
def test_the_cache_never_exceeds_its_limits(operations: list[tuple[str, str, str]]) -> None:
    """Also if a credential gets another submitter."""
    cache, last = CallerCache(), dict[str, CacheEntry]()
    for operation, name, submitter in operations:
        if operation == "put":
            last[name] = entry(submitter)
            cache.put(name, last[name])
            assert cache.get(name) == last[name]
        elif operation == "get":
            assert cache.get(name) in (None, last.get(name))
        else:
            cache.remove(name)
            assert name not in cache
        cached = [found.caller.submitter for each in "abcdefgh" if (found := cache.get(each)) is not None]
        assert len(cached) <= 4

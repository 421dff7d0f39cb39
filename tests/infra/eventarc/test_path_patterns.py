"""Path patterns select documents."""

import pytest

from infra.embedded.eventarc.path_patterns import InvalidPattern, Pattern

GROUPS = [
    ("users/marie", "users/marie", ""),
    ("users/marie", "users/pierre", None),
    ("users/{user}", "users/marie", "marie"),
    ("users/{user}", "users/marie/addresses/home", None),
    ("users/*", "users/marie", "marie"),
    ("users/{user}/addresses/{address}", "users/marie/addresses/home", "marie"),
    ("users/{user}/addresses/{address}", "users/marie/phones/home", None),
    ("users/{user=**}", "users/marie", "marie"),
    ("users/{user=**}", "users/marie/addresses/home", "marie"),
    ("users/{user=**}", "teams/red", None),
    ("{document=**}", "anything/at/any/depth", "anything"),
    ("**", "users/marie", "users"),
    ("users/a*", "users/anna", "anna"),
    ("users/a*", "users/a", "a"),
    ("users/a*", "users/marie", None),
    ("users/*.json", "users/x.json", "x.json"),
    ("users/*.json", "users/xjson", None),
    ("users/{user=a*}", "users/anna", "anna"),
    ("**/addresses/{address}", "users/marie/addresses/home", "users"),
    ("users/a.c", "users/abc", None),
    ("users/[^]*", "users/[^]x", "[^]x"),
    ("users/{user}", "users/line\nbreak", "line\nbreak"),
]


@pytest.mark.parametrize(("pattern", "path", "group"), GROUPS)
def test_a_pattern_selects_documents_and_groups_them_by_its_first_wildcard(
    pattern: str, path: str, group: str | None
) -> None:
    """Only `**` matches more than one segment. None: the pattern does not select the document."""
    assert Pattern(pattern).group(path) == group


def test_a_pattern_returns_the_values_of_its_named_wildcards() -> None:
    """Wildcards without a name have no value."""
    pattern = Pattern("users/{user=m*}/*/{path=**}")

    assert pattern.names == {"user", "path"}
    assert pattern.values("users/marie/notes/a/b") == {"user": "marie", "path": "a/b"}
    assert pattern.values("users/anna/notes/a") is None


INVALID = [
    ("", "empty"),
    ("/users/{user}", "slash"),
    ("users/{user}/", "slash"),
    ("users//x", "empty segment"),
    ("users", "collection"),
    ("users/{user}/addresses", "collection"),
    ("users/{user", "expected `{name}`"),
    ("users/{}", "expected `{name}`"),
    ("users/{1a}", "expected `{name}`"),
    ("users/a{user}", "expected `{name}`"),
    ("{a}/{a}", "twice"),
    ("{a=**}/{b=**}", "more than one `\\*\\*`"),
    ("users/{user=marie}", "no wildcard"),
    ("users/a*b*c", "more than one"),
]


@pytest.mark.parametrize(("pattern", "reason"), INVALID)
def test_an_invalid_pattern_is_rejected_with_its_reason(pattern: str, reason: str) -> None:
    """A pattern that matches no document would otherwise never fire, without an error."""
    with pytest.raises(InvalidPattern, match=reason) as error:
        Pattern(pattern)

    assert repr(pattern) in str(error.value)

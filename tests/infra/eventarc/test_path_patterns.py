"""Path patterns select documents."""

import pytest

from infra.embedded.eventarc.path_patterns import InvalidPattern, Pattern

MATCHES = [
    ("users/marie", "users/marie", True),
    ("users/marie", "users/pierre", False),
    ("users/{user}", "users/marie", True),
    ("users/{user}", "users/marie/addresses/home", False),
    ("users/*", "users/marie", True),
    ("users/{user}/addresses/{address}", "users/marie/addresses/home", True),
    ("users/{user}/addresses/{address}", "users/marie/phones/home", False),
    ("users/{user=**}", "users/marie", True),
    ("users/{user=**}", "users/marie/addresses/home", True),
    ("users/{user=**}", "teams/red", False),
    ("{document=**}", "anything/at/any/depth", True),
    ("**", "users/marie", True),
    ("users/a*", "users/anna", True),
    ("users/a*", "users/a", True),
    ("users/a*", "users/marie", False),
    ("users/*.json", "users/x.json", True),
    ("users/*.json", "users/xjson", False),
    ("users/{user=a*}", "users/anna", True),
    ("**/addresses/{address}", "users/marie/addresses/home", True),
    ("users/a.c", "users/abc", False),
    ("users/{user}", "users/line\nbreak", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_a_pattern_matches_the_documents_that_it_selects(pattern: str, path: str, expected: bool) -> None:
    """Only `**` matches more than one segment."""
    assert Pattern(pattern).matches(path) is expected


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

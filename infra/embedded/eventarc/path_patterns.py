"""Path patterns: which documents a trigger selects.

A pattern has the segments of a document's path. A segment is exact (`users`), a wildcard for one segment
(`{user}`, `{user=*}` or `*`), a wildcard with a prefix or suffix (`a*`, `{user=a*}`), or, once per pattern, a
wildcard for one or more segments (`{rest=**}` or `**`).

Note: `users/{user}` does not match documents in subcollections. A pattern that names a collection could never
match, so it is rejected.
"""

import re

_variable = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:=([^{}]*))?\}")
_any_segment = "[^/]+"
_any_segments = ".+"


class InvalidPattern(Exception):
    """The path pattern cannot match any document; the message says why."""

    def __init__(self, pattern: str, problem: str) -> None:
        """Name the pattern and its problem."""
        super().__init__(f"path pattern {pattern!r}: {problem}")


class Pattern:
    """A compiled path pattern."""

    def __init__(self, text: str) -> None:
        """Compile the pattern. Raises `InvalidPattern`."""
        self.text = text
        self._names: set[str] = set()
        segments = text.split("/")
        if "" in segments:
            raise InvalidPattern(text, "it is empty, has an empty segment, or starts or ends with a slash")
        expressions = [self._expression(segment) for segment in segments]
        if expressions.count(_any_segments) > 1:
            raise InvalidPattern(text, "only one `**` is allowed")
        if _any_segments not in expressions and len(segments) % 2:
            raise InvalidPattern(text, "it names a collection; a document has an even number of segments")
        self._matches = re.compile("/".join(expressions), re.DOTALL).fullmatch

    def matches(self, path: str) -> bool:
        """Return whether the pattern selects the document at `path`, such as `users/marie`."""
        return self._matches(path) is not None

    def _expression(self, segment: str) -> str:
        wildcard = segment
        if "{" in segment or "}" in segment:
            variable = _variable.fullmatch(segment)
            if variable is None:
                raise InvalidPattern(self.text, f"{segment!r} is not `{{name}}` or `{{name=wildcard}}`")
            name, wildcard = variable[1], variable[2] or "*"
            if name in self._names:
                raise InvalidPattern(self.text, f"{name!r} is used twice")
            self._names.add(name)
            if "*" not in wildcard:
                raise InvalidPattern(self.text, f"{segment!r} has no wildcard")
        if wildcard == "**":
            return _any_segments
        if wildcard == "*":
            return _any_segment
        if wildcard.count("*") > 1:
            raise InvalidPattern(self.text, f"{segment!r} has more than one `*`")
        return "[^/]*".join(map(re.escape, wildcard.split("*")))

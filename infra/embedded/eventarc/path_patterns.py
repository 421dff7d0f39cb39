"""Path patterns: which documents a trigger is about.

A pattern has the segments of a document's path. A segment is exact (`users`), one wildcard (`{user}`,
`{user=*}` or `*`), a wildcard with a prefix or suffix (`a*`, `{user=a*}`), or, once in a pattern, any
number of segments from one on (`{rest=**}` or `**`). The trap: a wildcard does not see subcollections,
and a pattern that names a collection would never match, so that it is refused.
"""

import re

_variable = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:=([^{}]*))?\}")
_any_segment = "[^/]+"
_any_segments = ".+"


class InvalidPattern(Exception):
    """This path pattern cannot match any document; the message says why."""

    def __init__(self, pattern: str, problem: str) -> None:
        """Name the pattern and what is wrong with it."""
        super().__init__(f"path pattern {pattern!r}: {problem}")


class Pattern:
    """A path pattern, compiled."""

    def __init__(self, text: str) -> None:
        """Refuse what is no pattern for documents with InvalidPattern."""
        self.text = text
        self._names: set[str] = set()
        segments = text.split("/")
        if "" in segments:
            raise InvalidPattern(text, "it is empty, has an empty segment, or a slash at its start or end")
        expressions = [self._expression(segment) for segment in segments]
        if expressions.count(_any_segments) > 1:
            raise InvalidPattern(text, "only one `**` is possible")
        if _any_segments not in expressions and len(segments) % 2:
            raise InvalidPattern(text, "it names a collection; a document has an even number of segments")
        self._matches = re.compile("/".join(expressions), re.DOTALL).fullmatch

    def matches(self, path: str) -> bool:
        """Tell whether the document at `path` (`users/marie`) is one of those meant."""
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

"""Path patterns, which select the documents of a trigger.

A pattern consists of segments, like the path of a document. A segment is one of these:

- an exact id: `users`
- a wildcard for one segment: `{user}`, `{user=*}` or `*`
- a wildcard with a prefix or suffix: `a*` or `{user=a*}`
- a wildcard for one or more segments, at most once per pattern: `{rest=**}` or `**`

Documents with the same value of the first wildcard belong to the same group. Event delivery treats groups fairly. If
the first wildcard is `**`, its value is the first segment that it matches.

Note: `users/{user}` does not match documents in subcollections. A pattern that names a collection is an error,
because it matches no document.
"""

import re

_variable = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?:=([^{}]*))?\}")
_any_segment = "[^/]+"
_any_segments = ".+"


class InvalidPattern(Exception):
    """The path pattern is invalid or cannot match a document. The message says why."""

    def __init__(self, pattern: str, problem: str) -> None:
        """Create the error message from the pattern and its problem."""
        super().__init__(f"path pattern {pattern!r}: {problem}")


class Pattern:
    """A compiled path pattern."""

    def __init__(self, text: str) -> None:
        """Compile the pattern. Raises `InvalidPattern`."""
        self.text = text
        self.names: set[str] = set()
        """The names of the wildcards."""
        segments = text.split("/")
        if "" in segments:
            raise InvalidPattern(text, "it is empty, has an empty segment, or starts or ends with a slash")
        expressions = [self._expression(segment) for segment in segments]
        named = [
            f"(?P<{variable[1]}>{expression})" if (variable := _variable.fullmatch(segment)) else expression
            for segment, expression in zip(segments, expressions, strict=True)
        ]
        if expressions.count(_any_segments) > 1:
            raise InvalidPattern(text, "it has more than one `**`; use at most one")
        if _any_segments not in expressions and len(segments) % 2:
            raise InvalidPattern(text, "it names a collection; a document has an even number of segments")
        for index, expression in enumerate(expressions):
            if expression == _any_segments:
                expressions[index] = f"({_any_segment})(?:/{_any_segments})?"
                break
            if expression == _any_segment or "[^/]*" in expression:
                expressions[index] = f"({expression})"
                break
        self._match = re.compile("/".join(expressions), re.DOTALL).fullmatch
        self._match_values = re.compile("/".join(named), re.DOTALL).fullmatch

    def group(self, path: str) -> str | None:
        """Return the group of the document at `path`, such as `users/marie`, or None if the pattern does not match.

        All documents of a pattern without wildcards are in the group "".
        """
        match = self._match(path)
        return None if match is None else match[1] if match.re.groups else ""

    def values(self, path: str) -> dict[str, str] | None:
        """Return the values of the named wildcards for the document at `path`, or None without a match."""
        match = self._match_values(path)
        return None if match is None else match.groupdict()

    def _expression(self, segment: str) -> str:
        wildcard = segment
        if "{" in segment or "}" in segment:
            variable = _variable.fullmatch(segment)
            if variable is None:
                raise InvalidPattern(self.text, f"expected `{{name}}` or `{{name=wildcard}}`, got {segment!r}")
            name, wildcard = variable[1], variable[2] or "*"
            if name in self.names:
                raise InvalidPattern(self.text, f"the name {name!r} is used twice; choose another name")
            self.names.add(name)
            if "*" not in wildcard:
                raise InvalidPattern(self.text, f"{segment!r} has no wildcard; add `*`, or write the id without braces")
        if wildcard == "**":
            return _any_segments
        if wildcard == "*":
            return _any_segment
        if wildcard.count("*") > 1:
            raise InvalidPattern(
                self.text,
                f"{segment!r} has more than one `*`; use at most one per segment, or `**` for any number of segments",
            )
        return "[^/]*".join(map(re.escape, wildcard.split("*")))

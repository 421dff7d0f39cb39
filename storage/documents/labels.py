"""Labels: names and values that say where a sample comes from, for example `site` and `zurich`.

Firestore allows one `array-contains` per query. A stored document therefore has an index term for each combination of
its labels. For example, a document with the labels `site` and `unit` has three terms: of `site`, of `unit`, and of
both. One term then selects the documents that have all given labels. A document with n labels has 2**n - 1 terms, and
the same number of entries in each index with the terms.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations

from storage.documents.problems import Problem, ProblemCode, echo

MAX_LABELS = 4
MAX_VALUE_CHARACTERS = 64
MAX_NAME_CHARACTERS = 32
NAME_PATTERN = "[a-z][a-z0-9_]{0,31}"

Labels = Mapping[str, str]
"""The values of labels by their names."""

_NAME = re.compile(NAME_PATTERN, re.ASCII)
_JOINER = re.compile("[\u200c\u200d]")
"""The zero-width joiner of emoji and of several scripts, and the zero-width non-joiner. `str.isprintable` is false."""

_SEPARATOR = "\x1f"  # neither a name nor a value contains this character


def are_valid(labels: Labels) -> bool:
    """Return whether `labels` has no problem."""
    return len(labels) <= MAX_LABELS and all(
        _NAME.fullmatch(name) and 0 < len(value) <= MAX_VALUE_CHARACTERS and is_printable(value)
        for name, value in labels.items()
    )


def problems(labels: Labels, path: str = "$.labels") -> Iterator[Problem]:
    """Yield the problems of `labels`. `path` is the JSONPath of the object that contains them."""
    if len(labels) > MAX_LABELS:
        yield too_many(path)
    for name, value in labels.items():
        if not is_name(name):
            yield invalid_name(name, path)
        elif not value:
            yield Problem(f"{path}.{name}", "expected at least one character, got an empty string", ProblemCode.EMPTY)
        elif len(value) > MAX_VALUE_CHARACTERS:
            yield too_long(name, f"{len(value):,}", path)
        elif not is_printable(value):
            message = f"expected printable characters, got {echo(value)}"
            yield Problem(f"{path}.{name}", message, ProblemCode.INVALID_LABEL)


def is_printable(value: str) -> bool:
    """Return whether all characters are printable, or joiners between two of these.

    Controls and marks that reorder text are not printable. At its start or end, a joiner would have no effect: two
    labels that look the same would differ.
    """
    return value.isprintable() or all(part and part.isprintable() for part in _JOINER.split(value))


def is_name(name: str) -> bool:
    """Return whether `name` is a valid name of a label."""
    return _NAME.fullmatch(name) is not None


def invalid_name(name: str, path: str = "$.labels") -> Problem:
    """Return the problem of a label with an invalid name."""
    message = (
        f"expected names of 1 to {MAX_NAME_CHARACTERS} lower-case letters, digits and `_` that start with a letter, "
        f"got {echo(name) or 'an empty name'}"
    )
    return Problem(path, message, ProblemCode.INVALID_LABEL)


def too_long(name: str, size: str, path: str = "$.labels") -> Problem:
    """Return the problem of a value with too many characters. `size` is its number of characters, or of bytes."""
    message = f"expected at most {MAX_VALUE_CHARACTERS} characters, got {size}"
    return Problem(f"{path}.{name}", message, ProblemCode.TOO_LONG)


def too_many(path: str = "$.labels") -> Problem:
    """Return the problem of too many labels."""
    return Problem(path, f"expected at most {MAX_LABELS} labels", ProblemCode.INVALID_LABEL)


def term(labels: Labels) -> str:
    """Return the index term of exactly these labels. Equal labels have equal terms."""
    return _SEPARATOR.join(f"{name}={value}" for name, value in sorted(labels.items()))


def from_term(term: str) -> Labels:
    """Return the labels whose index term is `term`, which is not empty."""
    return dict(pair.split("=", 1) for pair in term.split(_SEPARATOR))


def index_terms(labels: Labels) -> list[str]:
    """Return the index term of each combination of one or more of `labels`."""
    return list(_index_terms(tuple(labels.items())))


@lru_cache(maxsize=200)  # the terms of four long labels need 15 KiB
def _index_terms(labels: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the terms of `index_terms`. Clients repeat their labels, and the cache is four times as fast."""
    pairs = [f"{name}={value}" for name, value in sorted(labels)]
    return [
        _SEPARATOR.join(combination) for size in range(1, len(pairs) + 1) for combination in combinations(pairs, size)
    ]


def stored_fields(labels: Labels) -> dict[str, object]:
    """Return the fields of a stored document for `labels`. A document without labels has none of these fields."""
    return {"labels": dict(labels), "label_terms": index_terms(labels)}


def from_fields(fields: Mapping[str, object]) -> Labels:
    """Return the labels of a stored document by name, in alphabetical order.

    Raises `TypeError` if the fields do not contain labels.
    """
    stored = fields.get("labels")
    if stored is None:
        return {}
    if not isinstance(stored, Mapping):
        raise TypeError(f"expected a map of labels, got {stored!r}")
    return {str(name): str(stored[name]) for name in sorted(stored)}

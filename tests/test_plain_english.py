"""Texts use plain English: no constructions that a reader must translate back. STYLE: CONTRIBUTING.md."""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

AVOID = {
    r"\bwhoever\b": "name the person or the code",
    r"\bwhatever\b": "say which",
    r"\b(?:nobody|everybody)\b": "name who: no client, every subscriber",
    r"\bis no (?!longer\b|more than\b|less than\b|later than\b)": "write 'is not a'",
    r"\bare no (?!longer\b|more than\b)": "write 'are not'",
    r"\btraps?\b": "write 'Note:' or just the fact",
    r"\bbehind\b(?! (?:a|the|nginx|one) ?(?:reverse |plain )?(?:prox|load balancer|flag))": "write 'after'",
    r"\bgoes by\b": "write 'is selected by' or 'follows'",
    r"\bc[ao]mes? to (?!an end\b)": "write 'reaches', 'becomes' or 'results in'",
    r"\bhis\b": "write 'their' or repeat the noun",
    r"\btak(?:e|es|en|ing) away\b": "write 'export'",
    r"\bdoors?\b": "write 'endpoint' or 'route'",
    r"\bso many\b": "give the number or the name of the limit",
}
"""What does not appear in a text, and what to write instead."""

ANY = re.compile("|".join(AVOID), re.IGNORECASE)
"""Most files contain nothing of this. They are not split into tokens, which takes most of the time."""

TEXTS = {".md", ".toml", ".graphql", ".ts", ".tsx", ".js", ".mjs", ".html", ".sh", ".yaml", ".yml"}
EXCEPT = {"tests/test_plain_english.py"}


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that people read: all of a text, comments and strings of Python."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or token.type == getattr(tokenize, "FSTRING_MIDDLE", -1):
            yield from enumerate(token.string.splitlines(), token.start[0])


def committed() -> list[Path]:
    """Return the files of the project that hold texts."""
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [
        path
        for name in listed
        if (path := Path(name)).suffix in TEXTS | {".py"} and name not in EXCEPT and path.is_file()
    ]


def test_texts_avoid_constructions_that_are_hard_to_read() -> None:
    """Each of them has a plainer form that says the same."""
    found = [
        f"{path}:{number}: {match[0]!r}: {advice}"
        for path in committed()
        if ANY.search(path.read_text(encoding="utf-8"))
        for number, line in prose(path)
        for pattern, advice in AVOID.items()
        for match in re.finditer(pattern, line, re.IGNORECASE)
    ]

    assert not found, "\n".join(found)

"""The links between the documents of this repository lead to existing files and headings."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

DOCUMENTS = subprocess.check_output(["git", "ls-files", "*.md"], text=True).split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document: str) -> None:
    """A heading that is renamed, or moved to another document, is found here."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _text(Path(document))):
        path, _, heading = link.partition("#")
        target = Path(document).parent / path if path else Path(document)
        if "://" in link:
            continue
        if not target.exists() or (heading and heading not in _headings(target)):
            broken.append(link)

    assert broken == []


@cache
def _headings(document: Path) -> set[str]:
    """Return the headings as GitHub writes them in links: without punctuation, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", _text(document), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def _text(document: Path) -> str:
    """Return the text without blocks of code."""
    return re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)

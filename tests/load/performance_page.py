"""docs/performance.md: the last table stands between two marks; people write the rest."""

from collections.abc import Sequence
from pathlib import Path

from tests.load import table
from tests.load.table import Row

PAGE = Path("docs/performance.md")
BEGIN = "<!-- table -->\n"
END = "<!-- end of table -->\n"


def write(lines: Sequence[str], rows: Sequence[Row]) -> None:
    """Replace the last table and the lines above it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    known = "".join(f"- {line}\n" for line in lines)
    PAGE.write_text(f"{before}{BEGIN}{known}\n{table.markdown(rows)}\n{END}{after}")

"""The operations of the dashboard, and the statistics that they select."""

import re

from graphql_api.web.pages import DASHBOARD_FOLDER

STATISTICS = re.findall(
    r"\{ name: '(\w+)', .* table: '(\w+)', detail: (\w+), filter: (\w+), nullable: (\w+) \},",
    (DASHBOARD_FOLDER / "src" / "statistics.ts").read_text(encoding="utf-8"),
)


def operations() -> dict[str, str]:
    """Return the operations by the names of their files. Statistics are inserted as `withStatistics` does."""
    in_table = " ".join(name for name, table, *_ in STATISTICS if table != "never")
    in_detail = " ".join(name for name, _, detail, *_ in STATISTICS if detail == "true")
    files = sorted((DASHBOARD_FOLDER / "src" / "operations").glob("*.graphql"))
    texts = {file.stem: file.read_text(encoding="utf-8") for file in files}
    return {
        name: text.replace("...TableStatistics", in_table).replace("...DetailStatistics", in_detail)
        for name, text in texts.items()
    }

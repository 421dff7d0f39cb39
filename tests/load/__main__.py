"""`python -m tests.load`: measure Dropzone and its peers on this machine and print one table with ratios.

A run of all groups replaces the table in docs/performance.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.load import machine, performance_page, table, wrk
from tests.load.plan import Plan, attempt
from tests.load.rows import (
    documents,
    end_to_end,
    flood,
    function,
    labels,
    large,
    results,
    scale,
    start,
    streams,
    submits,
    subscribers,
    tokens,
)
from tests.load.table import Row

GROUPS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "submits": submits.single_submits,
    "streams": streams.streams,
    "million": large.million_values,
    "large": large.thirty_two_mebibytes,
    "end-to-end": end_to_end.throughput,
    "latency": end_to_end.latency,
    "flood": flood.flood,
    "scale": scale.scale,
    "shards": scale.shards,
    "function": function.events,
    "start": start.start,
    "tokens": tokens.tokens,
    "clients": submits.growth_with_clients,
    "values": submits.growth_with_values,
    "results": results.growth_with_results,
    "labels": labels.labelled,
    "subscribers": subscribers.subscribers,
    "firestore": documents.embedded_firestore,
}


def parse_arguments() -> argparse.Namespace:
    """Return the command-line arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help=f"only these of {' '.join(GROUPS)}; docs/performance.md stays",
    )
    parser.add_argument("--long", action="store_true", help="longer runs, and growth up to 1,000,000 documents")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.groups if name not in GROUPS]
    if unknown:
        parser.error(f"{unknown[0]} is not a group; the groups are {', '.join(GROUPS)}")
    return arguments


def header(plan: Plan) -> list[str]:
    """Return the lines above the table: time, machine, placement, load."""
    kind = "long" if plan.long else "short"
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {kind} run: a warm-up and the median of {plan.runs} runs of "
        f"{plan.seconds:g} s; growth up to {plan.documents:,} documents",
        *machine.describe(),
        f"requests by wrk; {plan.placement}",
        f"before: {machine.load()}",
    ]


def main() -> int:
    """Measure, print each row when it is known, then the table. Return 1 if a row failed."""
    arguments = parse_arguments()
    if not wrk.is_there():
        sys.stderr.write(f"wrk is not installed and generates the load; install it with: {wrk.INSTALL}\n")
        return 1
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dropzone-load-") as folder:
        plan = Plan(machine.placement(), Path(folder), arguments.long)
        machine.place_this(plan.placement.other)
        lines = header(plan)
        for name in arguments.groups or GROUPS:
            for row in attempt(name, partial(GROUPS[name], plan)):
                sys.stderr.write(f"{row.progress()}\n")
                rows.append(row)
    lines.append(f"after: {machine.load()}")
    sys.stdout.write("\n".join([*lines, "", table.text(rows), ""]))
    if not arguments.groups:
        performance_page.write(lines, rows)
    return 1 if any(row.figure is None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.load`: measure Dropzone and its peers on this machine and print one table with ratios.

A run of all groups replaces the table in docs/performance.md. The short form has some groups, and takes at most ten
minutes: it starts no group after eight minutes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.load import last_figures, machine, performance_page, table, wrk
from tests.load.machine import Activity, Stolen
from tests.load.plan import Form, Plan, attempt
from tests.load.rows import (
    documents,
    end_to_end,
    flood,
    function,
    growth,
    labels,
    large,
    scale,
    start,
    streams,
    submits,
    subscribers,
    tokens,
    traces,
)
from tests.load.rows.results import pages
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
    "traces": traces.traces,
    "clients": submits.growth_with_clients,
    "values": submits.growth_with_values,
    "results": pages.pages,
    "labels": labels.labelled,
    "subscribers": subscribers.subscribers,
    "firestore": documents.embedded_firestore,
    "growth": growth.growth,
}

SHORT_GROUPS = ("submits", "streams", "end-to-end", "million", "function", "firestore", "start", "latency")
"""The groups of the short form, in the order of their importance."""
MAX_SHORT_SECONDS = 8 * 60


def parse_arguments() -> argparse.Namespace:
    """Return the command-line arguments."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help=f"measure only these groups: {' '.join(GROUPS)}; docs/performance.md does not change",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="at most ten minutes: fewer groups, and one run of each row")
    form.add_argument("--long", action="store_true", help="longer runs, and growth up to 1,000,000 documents")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.groups if name not in GROUPS]
    if unknown:
        parser.error(f"{unknown[0]} is not a group; the groups are {', '.join(GROUPS)}")
    return arguments


def header(plan: Plan, measured: str) -> list[str]:
    """Return the lines above the table: time, machine, placement."""
    return [
        f"{measured} UTC, {plan.form} form: a warm-up and the median of {plan.runs} runs of "
        f"{plan.seconds:g} s; growth up to {plan.documents:,} documents",
        *machine.describe(),
        f"requests by wrk; {plan.placement}",
    ]


def warnings(before: Activity, after: Activity, stolen: float) -> list[str]:
    """Return why the figures say little, if so. The load average at the end is that of the run itself."""
    found = [
        f"other processes used {each.used:.0%} of the processors {when}"
        for when, each in (("before the run", before), ("after the run", after))
        if each.is_high
    ]
    if stolen > machine.MAX_STOLEN:
        found.append(f"the hypervisor gave {stolen:.0%} of the CPU time to other machines")
    return [f"WARNING: the machine was busy: {reason}" for reason in found]


def measure(plan: Plan, groups: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of the groups. Write each one when it is known."""
    started_at = time.monotonic()
    for name in groups:
        if plan.form is Form.SHORT and time.monotonic() - started_at > MAX_SHORT_SECONDS:
            sys.stderr.write(f"{name}: left out, because the short form takes at most ten minutes\n")
            continue
        for row in attempt(name, partial(GROUPS[name], plan)):
            sys.stderr.write(f"{row.progress()}\n")
            yield row


def main() -> int:
    """Measure, print each row when it is known, then ratios and table. Return 1 if a row failed."""
    arguments = parse_arguments()
    if not wrk.is_there():
        sys.stderr.write(f"wrk is not installed and generates the load; install it with: {wrk.INSTALL}\n")
        return 1
    form = Form.SHORT if arguments.short else Form.LONG if arguments.long else Form.USUAL
    measured = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    before, stolen = Activity.look(), Stolen.since_now()
    with tempfile.TemporaryDirectory(prefix="dropzone-load-") as folder:
        plan = Plan(machine.placement(), Path(folder), form)
        machine.place_this(plan.placement.other)
        rows = list(measure(plan, arguments.groups or (SHORT_GROUPS if form is Form.SHORT else GROUPS)))
    stolen_share, after = stolen.share(), Activity.look()
    lines = [*header(plan, measured), f"before: {before}", f"after: {after}"]
    lines += warnings(before, after, stolen_share)
    changes = last_figures.changes(last_figures.read(last_figures.PATH, form), rows)
    sys.stdout.write("\n".join([*lines, "", table.text(rows, changes), ""]))
    last_figures.write(last_figures.PATH, form, rows, measured)
    if not arguments.groups and form is not Form.SHORT:
        performance_page.write(lines, rows)
    return 1 if any(row.figure is None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

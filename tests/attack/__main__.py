"""`python -m tests.attack`: attack fresh stacks, and print what another tenant saw and what memory was used.

Each attack runs against a stack of its own and takes about 20 seconds. `--short` selects a few attacks.
"""

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatch

from tests.attack.attacks import ATTACKS
from tests.attack.outcome import Outcome, markdown
from tests.attack.registry import Attack
from tests.attack.runner import run
from tests.load import machine

_SECONDS = 8.0
_SHORT_SECONDS = 3.0
_SHORT_TOLERANCE = 4.0
"""The short form runs on busy machines too. The faults that it is made for exceed the bounds by far."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected attacks. Return 1 if one of them exceeded a bound."""
    options = _parser().parse_args(arguments)
    selected = _selected(options.attacks, is_short=options.short)
    tolerance = _SHORT_TOLERANCE if options.short else 1.0
    outcomes: list[Outcome] = []
    failed = 0
    for attack in selected:
        outcome = run(attack, _SHORT_SECONDS if options.short else _SECONDS)
        outcomes.append(outcome)
        faults = outcome.faults(tolerance)
        failed += bool(faults)
        print(f"{'FAILED' if faults else 'passed'}  {'  '.join(outcome.cells())}", flush=True)
        for fault in faults:
            print(f"        {fault}", flush=True)
    print("\n".join(["", *machine.describe(), "", markdown(outcomes)]))
    print(f"\n{len(outcomes) - failed} attacks passed, {failed} failed")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help="names or patterns, such as frames_*")
    parser.add_argument("--short", action="store_true", help="few and short attacks, with wider bounds on times")
    return parser


def _selected(patterns: Sequence[str], *, is_short: bool) -> list[Attack]:
    chosen = [
        attack
        for attack in ATTACKS.values()
        if (not patterns or any(fnmatch(attack.name, pattern) for pattern in patterns))
        and (attack.is_short or not is_short)
    ]
    if not chosen:
        sys.exit(f"no attack matches; the attacks are {', '.join(ATTACKS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())

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

_USUAL_SUBMIT_SECONDS = 0.01
"""If a submit before the attack takes longer, the machine is slow, and the short form allows times in proportion."""

_SHORT_RUNS = 3
"""A time is a fault in the short form only if each of these runs has one, because a machine can stop for a moment."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected attacks. Return 1 if one of them exceeded a bound."""
    options = _parser().parse_args(arguments)
    selected = _selected(options.attacks, is_short=options.short)
    outcomes: list[Outcome] = []
    failed = 0
    for attack in selected:
        outcome, faults = _run_short(attack) if options.short else _run(attack)
        outcomes.append(outcome)
        failed += bool(faults)
        print(f"{'FAILED' if faults else 'passed'}  {'  '.join(outcome.cells())}", flush=True)
        for fault in faults:
            print(f"        {fault}", flush=True)
    print("\n".join(["", *machine.describe(), "", markdown(outcomes)]))
    print(f"\n{len(outcomes) - failed} attacks passed, {failed} failed")
    return 1 if failed else 0


def _run(attack: Attack) -> tuple[Outcome, list[str]]:
    """Run an attack. Return its outcome and its faults."""
    outcome = run(attack, _SECONDS)
    return outcome, outcome.faults()


def _run_short(attack: Attack) -> tuple[Outcome, list[str]]:
    """Run an attack, and again if its only faults are times. Return the last outcome and its faults."""
    for _ in range(_SHORT_RUNS):
        outcome = run(attack, _SHORT_SECONDS)
        tolerance = _SHORT_TOLERANCE * max(1.0, outcome.calm_submit_seconds / _USUAL_SUBMIT_SECONDS)
        faults = outcome.faults(tolerance)
        if not faults or faults != list(outcome.time_faults(tolerance)):
            break
    return outcome, faults


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

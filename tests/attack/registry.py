"""The registry of attacks. A decorated coroutine function is an attack; its docstring says what it tries."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.attack.target import Target

Run = Callable[[Target], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `is_valid_work`: it floods with work that the server must do, so other bounds apply."""

    name: str
    run: Run
    is_valid_work: bool
    stores_samples: bool
    """Whether it stores many samples, valid or not. Their events are still delivered after the attack."""
    is_short: bool
    """Whether the short form of the suite contains this attack."""
    has_provider: bool
    """Whether the stack accepts the access tokens of a provider that the attack runs."""
    has_tls: bool
    """Whether the API of the stack uses TLS."""


ATTACKS: dict[str, Attack] = {}
"""All attacks, by name."""


def attack(*, is_valid_work: bool = False, is_short: bool = False) -> Callable[[Run], Run]:
    """Register a coroutine function as an attack."""

    def register(run: Run) -> Run:
        add(getattr(run, "__name__", ""), run, is_valid_work=is_valid_work, is_short=is_short)
        return run

    return register


def add(
    name: str,
    run: Run,
    *,
    is_valid_work: bool = False,
    stores_samples: bool = False,
    is_short: bool = False,
    has_provider: bool = False,
    has_tls: bool = False,
) -> None:
    """Register an attack under a name of its own, such as a variant of another."""
    assert name not in ATTACKS, f"two attacks are named {name}"
    ATTACKS[name] = Attack(name, run, is_valid_work, is_valid_work or stores_samples, is_short, has_provider, has_tls)

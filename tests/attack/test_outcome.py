"""Each bound that an attack exceeds is a fault."""

from dataclasses import replace

import pytest

from tests.attack import __main__
from tests.attack.attacks import ATTACKS
from tests.attack.bystander import Experience
from tests.attack.outcome import Outcome

CALM = Experience(submits=[0.01] * 200, health_checks=[0.01] * 20, results=[0.05] * 200)


def outcome(experience: Experience = CALM, **changes: object) -> Outcome:
    """Return the outcome of an attack without effect, with changes."""
    calm = Outcome(
        "attack", False, False, experience, {"API": (100.0, 200.0, 110.0)}, {"API": 1.0, "function": 2.0}, []
    )
    return replace(calm, **changes)  # type: ignore[arg-type]


def test_an_attack_without_effect_has_no_faults() -> None:
    """One slow request of 200 is within the 99th percentile."""
    assert outcome(replace(CALM, submits=[0.01] * 199 + [5.0])).faults() == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (outcome(replace(CALM, submits=[0.01] * 190 + [0.3] * 10)), "another tenant's submit took 0.30 s"),
        (outcome(replace(CALM, health_checks=[0.3])), "another tenant's health check took 0.30 s"),
        (outcome(replace(CALM, results=[2.5])), "another tenant's result took 2.50 s"),
        (outcome(replace(CALM, failures=["POST /samples: 503"])), "1 requests of another tenant failed: POST"),
        (outcome(replace(CALM, without_result=3)), "3 acknowledged samples of another tenant have no result"),
        (outcome(memory={"API": (100.0, 600.0, 100.0)}), "API used 600 MiB"),
        (outcome(memory={"API": (100.0, 200.0, 130.0)}), "API kept 130 MiB of 100 MiB"),
        (outcome(idle_after_seconds={"API": 1.0, "function": None}), "function still worked 30 s after the attack"),
        (
            outcome(idle_after_seconds={"API": None, "function": None}, stores_samples=True),
            "API still worked 30 s after the attack",
        ),
        (outcome(ended=["function"]), "these processes ended: function"),
        (outcome(harms=["a result was forged"]), "a result was forged"),
    ],
)
def test_each_exceeded_bound_is_a_fault(changed: Outcome, fault: str) -> None:
    """The text of the fault has the measured value."""
    (only,) = changed.faults()

    assert only.startswith(fault)


def test_wider_bounds_tolerate_a_busy_machine() -> None:
    """They apply to times, not to memory."""
    slow = outcome(replace(CALM, submits=[0.9]), memory={"API": (100.0, 600.0, 100.0)})

    assert [fault[:3] for fault in slow.faults(tolerance=4)] == ["API"]


def test_valid_work_may_delay_others_up_to_a_second() -> None:
    """The server must do this work, on the same processors."""
    busy = outcome(replace(CALM, submits=[0.9]), is_valid_work=True)

    assert busy.faults() == []


def test_the_results_of_stored_samples_may_follow_an_attack() -> None:
    """The API has nothing left to do, because the client is gone."""
    working = outcome(idle_after_seconds={"API": 1.0, "Firestore": None, "function": None}, stores_samples=True)

    assert working.faults() == []


SLOW = outcome(replace(CALM, submits=[1.5]))
ENDED = replace(SLOW, ended=["function"])


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([SLOW, SLOW, outcome()], 0),
        ([SLOW, SLOW, SLOW], 1),
        ([ENDED], 1),
        ([replace(SLOW, calm_submit_seconds=0.02)], 0),
        ([replace(ENDED, calm_submit_seconds=0.02)], 1),
    ],
)
def test_the_short_form_fails_only_if_times_are_too_long_for_the_machine_in_each_run(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], code: int
) -> None:
    """On a slow machine, a submit takes longer before the attack too. Other faults are not measured again."""
    monkeypatch.setattr(__main__, "run", lambda *_: outcomes.pop(0))

    assert __main__.main(["--short", "keys_listed"]) == code
    assert outcomes == []


def test_the_short_form_has_an_attack_of_each_kind() -> None:
    """Every module with attacks is part of it."""
    modules = {attack.is_short: set[str]() for attack in ATTACKS.values()}
    for attack in ATTACKS.values():
        modules[attack.is_short].add(getattr(attack.run, "func", attack.run).__module__)

    assert modules[True] == modules[True] | modules[False]

"""What traces cost the API: single submits without the code for traces, with traces off, and with 1 % of them recorded.

All three take turns run by run. The figure is the processor time of a submit, because other load on the machine
affects it less than the rate.
"""

from collections.abc import Iterator
from contextlib import ExitStack

from tests.load.contest import DROPZONE, Contest, Measured, dropzone
from tests.load.plan import Plan
from tests.load.process import Failed
from tests.load.rows.submits import CONNECTIONS, VALUES
from tests.load.table import Figure, Goal, Row
from tests.otlp_receiver import receiving

_UNTRACED, _SAMPLED = "no code for traces", "1 % of traces"
_OFF = {"OTEL_SDK_DISABLED": "true"}
_MAX_OFF, _MAX_SAMPLED = 0.02, 0.10


def traces(plan: Plan) -> Iterator[Row]:
    """Measure the processor time of a submit."""
    with receiving() as receiver, ExitStack() as started:
        sampling = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        contestants = [
            started.enter_context(dropzone(plan, _UNTRACED, _OFF, has_tracing=False)),
            started.enter_context(dropzone(plan, DROPZONE, _OFF)),
            started.enter_context(dropzone(plan, _SAMPLED, sampling)),
        ]
        measured = Contest(plan, contestants).submits(VALUES, CONNECTIONS, by=_processor_seconds)
        recorded = len(receiver.trace_ids())
    if not recorded:
        raise Failed("the receiver got no trace")
    untraced, off, sampled = (_known(measured[each.name]) for each in contestants)
    yield _row("traces off", off, untraced, _MAX_OFF, "without the code for traces")
    yield _row(f"1 % of traces recorded ({recorded:,})", sampled, off, _MAX_SAMPLED, "off")


def _row(what: str, own: Measured, other: Measured, max_more: float, than: str) -> Row:
    seconds, more = _processor_seconds(own), _processor_seconds(own) / _processor_seconds(other) - 1
    note = f"{more:+.1%} of the {_processor_seconds(other) * 1e6:.0f} µs {than}; {own.outcome.rate:,.0f}/s"
    return Row(
        f"processor time of a submit of {VALUES} values, {what}",
        Figure(seconds * 1e6, "µs", note, more_is_better=False),
        goals=[Goal(f"{max_more:.0%} more than {than}", more <= max_more)],
    )


def _processor_seconds(measured: Measured) -> float:
    return measured.busy / measured.outcome.rate


def _known(measured: Measured | str) -> Measured:
    if isinstance(measured, str):
        raise Failed(measured)
    return measured

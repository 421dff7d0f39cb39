"""What traces cost the API: single submits without the code for traces, with traces off, and with 1 % of them recorded.

All three take turns run by run. The figure is the CPU time of a submit, because other load on the machine
affects it less than the rate. Two processes of the same code differ by some percent, so each is started several times,
and the row shows the median of the ratios.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from tests.load.contest import DROPZONE, Contest, Measured, dropzone
from tests.load.plan import Form, Plan
from tests.load.process import Failed
from tests.load.rows.submits import CONNECTIONS, VALUES
from tests.load.table import Figure, Goal, Row
from tests.otlp_receiver import receiving

_UNTRACED, _SAMPLED = "no code for traces", "1 % of traces"
_OFF = {"OTEL_SDK_DISABLED": "true"}
_MAX_OFF, _MAX_SAMPLED = 0.02, 0.10


def traces(plan: Plan) -> Iterator[Row]:
    """Measure the CPU time of a submit."""
    measured: dict[str, list[float]] = {_UNTRACED: [], DROPZONE: [], _SAMPLED: []}
    each_start = plan if plan.form is Form.SHORT else replace(plan, form=Form.USUAL)
    with receiving() as receiver:
        sampling = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        for _ in range(plan.starts):
            with ExitStack() as started:
                contestants = [
                    started.enter_context(dropzone(plan, _UNTRACED, _OFF, has_tracing=False)),
                    started.enter_context(dropzone(plan, DROPZONE, _OFF)),
                    started.enter_context(dropzone(plan, _SAMPLED, sampling)),
                ]
                medians = Contest(each_start, contestants).submits(VALUES, CONNECTIONS, by=_processor_seconds)
            for name, seconds in measured.items():
                seconds.append(_processor_seconds(_known(medians[name])))
        recorded = len(receiver.trace_ids())
    if not recorded:
        raise Failed("the receiver got no trace")
    untraced, off, sampled = measured.values()
    yield _row("traces off", off, untraced, _MAX_OFF, "without the code for traces")
    yield _row(f"1 % of traces recorded ({recorded:,})", sampled, off, _MAX_SAMPLED, "off")


def _row(what: str, own: Sequence[float], other: Sequence[float], max_more: float, than: str) -> Row:
    ratios = [mine / others - 1 for mine, others in zip(own, other, strict=True)]
    more = median(ratios)
    spread = f", {min(ratios):+.1%} to {max(ratios):+.1%} in {len(ratios)} starts" if len(ratios) > 1 else ""
    note = f"{more:+.1%} of the {median(other) * 1e6:.0f} µs {than}{spread}"
    return Row(
        f"CPU time of a submit of {VALUES} values, {what}",
        Figure(median(own) * 1e6, "µs", note, more_is_better=False),
        goals=[Goal(f"{max_more:.0%} more than {than}", more <= max_more)],
    )


def _processor_seconds(measured: Measured) -> float:
    return measured.busy / measured.outcome.rate


def _known(measured: Measured | str) -> Measured:
    if isinstance(measured, str):
        raise Failed(measured)
    return measured

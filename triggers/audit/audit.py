"""One run of the audit. It checks samples that were submitted some minutes ago, and samples in earlier findings.

It also checks samples that were corrected some minutes ago. A corrected sample needs a new result, which names the
correction. Otherwise, the audit treats the sample like a sample without a result.

If a sample has no result, the audit triggers the function again, as `recompute` does, and adds the sample to a finding.
If the sample has no result at a later check either, the audit logs an error, which is an alert for operators. The
second and the third check also trigger the function again. Further checks follow at growing intervals, without another
trigger, so that the retries of the event can end. If a sample has no result after more than a day, the audit stores a
FAILED result. No sample is therefore PENDING forever.

A run may stop at any time, for example because the process is killed. The next run continues from the stored state. It
may then trigger the function again for some samples, which is harmless.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from storage.documents import Status, timestamps
from storage.firestore.errors import PreconditionFailed
from triggers.audit import metrics
from triggers.audit.audit_documents import MAX_IDS, AuditState, Finding
from triggers.audit.audit_reads import parts
from triggers.audit.audit_store import AuditStore
from triggers.audit.comparison import Counts, Partition, missing_results
from triggers.audit.window import Window
from triggers.result_store import ResultStore

LEASE = timedelta(minutes=5)
MAX_RUN_SECONDS = 45.0
"""A run ends after this time. The next run does the rest."""

MAX_WINDOW_SAMPLES = 1_000_000
MAX_WINDOW_DIFFERENCE = 1_000
"""Maximum number of missing results in one window. Progress is stored after each window, so a window must be short."""
MAX_WINDOW_CORRECTIONS = 1_000
"""Maximum number of corrected samples in one window, because all of them are read."""

MAX_TRIGGERS = 3
"""How often the function is triggered again for a sample. Each time, its event is retried for up to a day."""
MAX_CHECK_INTERVAL = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(hours=25)
"""Longer than the time for which Eventarc and the embedded event delivery retry an event."""
MAX_LOGGED_IDS = 5

logger = logging.getLogger("triggers")


@dataclass(slots=True)
class Report:
    """The report of one run."""

    checked: int = 0
    triggered: int = 0
    healed: int = 0
    """Samples of earlier findings that have a result now."""
    missing: int = 0
    """Samples without a result at the end of the run, although the function was triggered again for them."""
    given_up: int = 0
    reads: int = 0
    checked_until: datetime | None = None

    def values(self) -> dict[str, object]:
        """Return the report as JSON."""
        until = None if self.checked_until is None else timestamps.to_text(self.checked_until)
        return {
            "checked": self.checked,
            "triggered": self.triggered,
            "healed": self.healed,
            "missing": self.missing,
            "givenUp": self.given_up,
            "reads": self.reads,
            "checkedUntil": until,
        }


class Audit:
    """Checks each sample of all submitters once, when its age is `delay`. Belongs to one event loop."""

    def __init__(self, store: AuditStore, results: ResultStore, *, delay: timedelta) -> None:
        self._store = store
        self._results = results
        self._delay = delay
        self._length: timedelta | None = None
        """The length of the next window. It is short after a window with many samples or many missing results."""
        self._running = asyncio.Lock()
        self._has_metric = False
        self._state: AuditState

    async def run(self) -> Report | None:
        """Check the samples that are due. Return None if another run has not ended.

        Raises `Unavailable` or `FirestoreError`. The next run then continues.
        """
        if self._running.locked():
            return None
        async with self._running:
            reads = self._store.reads.billed
            self._store.reads.failed = 0
            now = await self._store.now()
            try:
                if await self._acquire_lease(now):
                    return await self._run(now, reads)
            except PreconditionFailed:
                logger.info("the audit stops, because another instance runs it")
            return None

    async def _acquire_lease(self, now: datetime) -> bool:
        state = await self._store.read_state()
        if state is not None and not self._has_metric:
            self._set_metric(state)  # if each run fails after a restart, the alert still needs this metric
        if state is not None and state.leased_until > now:
            return False
        self._state = state or AuditState(checked_until=await self._first_time(now - self._delay), leased_until=now)
        await self._save(leased_until=now + LEASE)
        return True

    async def _first_time(self, horizon: datetime) -> datetime:
        times = await asyncio.gather(*map(self._store.oldest_sample, await self._store.partitions()))
        return min([horizon, *(each for each in times if each is not None)])

    async def _save(self, **changes: Any) -> None:
        """Store the state with `changes`. Raises `PreconditionFailed` if another instance has changed it."""
        self._state = await self._store.write_state(replace(self._state, **changes))

    async def _run(self, now: datetime, reads: int) -> Report:
        """Check the samples that are due. `reads` is the number of reads before the run."""
        report = Report()
        try:
            await self._check_findings(now, report)
            self._set_metric(self._state)
            await self._check(now, report)
        finally:
            report.reads = self._store.reads.billed - reads
            metrics.READS.inc(report.reads)
            await self._save(
                leased_until=now, healed=self._state.healed + report.healed, reads=self._state.reads + report.reads
            )
        report.checked_until = self._state.checked_until
        return report

    async def _check(self, now: datetime, report: Report) -> None:
        """Check the samples that are old enough, window by window."""
        horizon = now - self._delay
        deadline = time.monotonic() + MAX_RUN_SECONDS
        partitions = await self._store.partitions() if self._state.checked_until < horizon else []
        while self._state.checked_until < horizon:
            window, counts, superseded = await self._next_window(partitions, self._state.checked_until, horizon)
            found = await self._missing(window, counts, superseded)
            triggered = 0
            found_at = await self._store.now() if found else now
            for submitter, sample_ids in found.items():
                await self._report_missing(submitter, sample_ids, window, found_at)
                triggered += await self._store.trigger(submitter, sample_ids)
            checked = sum(each.samples for each in counts.values())
            await self._save(
                checked_until=window.end,
                checked=self._state.checked + checked,
                triggered=self._state.triggered + triggered,
            )
            self._set_metric(self._state)
            report.checked += checked
            report.triggered += triggered
            metrics.CHECKED.inc(checked)
            metrics.TRIGGERED.inc(triggered)
            if time.monotonic() >= deadline:
                return

    async def _next_window(
        self, partitions: Sequence[Partition], start: datetime, horizon: datetime
    ) -> tuple[Window, Mapping[Partition, Counts], Mapping[str, list[str]]]:
        """Return the longest window from `start` whose work is limited.

        Also return the counts of each partition, and the ids of the corrected samples of each submitter.
        """
        window = Window(start, horizon if self._length is None else min(start + self._length, horizon))
        while True:
            each = await asyncio.gather(*(self._store.counts(partition, window) for partition in partitions))
            counts = dict(zip(partitions, each, strict=True))
            is_small = (
                sum(each.samples for each in counts.values()) <= MAX_WINDOW_SAMPLES
                and sum(each.difference for each in counts.values()) <= MAX_WINDOW_DIFFERENCE
            )
            if is_small or not window.is_divisible:
                limit = MAX_WINDOW_CORRECTIONS + 1 if window.is_divisible else None
                superseded = await self._store.superseded_ids(window, limit)
                if limit is None or sum(map(len, superseded.values())) < limit:
                    self._length = None if window.end == horizon else 2 * window.length
                    return window, counts, superseded
            window, _ = window.halves()

    async def _missing(
        self, window: Window, counts: Mapping[Partition, Counts], superseded: Mapping[str, list[str]]
    ) -> dict[str, list[str]]:
        """Return the ids of samples without a result, and of `superseded` samples that need a new one, by submitter."""
        found: dict[str, list[str]] = defaultdict(list)
        for partition, each in counts.items():
            found[partition.submitter] += await missing_results(self._store, partition, window, each)
        for submitter, sample_ids in superseded.items():
            outdated = await self._store.without_result(submitter, sample_ids)
            found[submitter] += await self._store.existing_samples(submitter, outdated)
        return {submitter: list(dict.fromkeys(sample_ids)) for submitter, sample_ids in found.items() if sample_ids}

    async def _report_missing(
        self, submitter: str, sample_ids: Sequence[str], window: Window, found_at: datetime
    ) -> None:
        for number, part in enumerate(parts(sample_ids, MAX_IDS)):
            finding_id = f"{Finding.id_prefix(window.start)}-{submitter}-{number}"
            await self._store.write_finding(
                Finding(finding_id, submitter, tuple(part), found_at, found_at + self._delay)
            )
        logger.warning(
            "audit: %d samples of %s have no current result %s after they were submitted or corrected; the audit "
            "triggers the function again for them: %s",
            len(sample_ids),
            submitter,
            self._delay,
            _listed(sample_ids),
        )

    async def _check_findings(self, now: datetime, report: Report) -> None:
        """Check the samples of all findings that are due."""
        for finding in await self._store.findings():
            checked = finding if finding.due_at > now else await self._check_finding(finding, now, report)
            report.missing += len(checked.sample_ids) if checked.is_alert else 0
        metrics.MISSING.set(report.missing)

    async def _check_finding(self, finding: Finding, now: datetime, report: Report) -> Finding:
        if now - finding.due_at > MAX_CHECK_INTERVAL:
            # The audit did not run, probably because the function was down. The events are retried for another day.
            finding = finding.found_again(now)
        outcomes = await self._store.outcomes(finding.submitter, finding.sample_ids)
        sample_ids = [sample_id for sample_id in finding.sample_ids if sample_id not in outcomes]
        sample_ids = await self._store.existing_samples(finding.submitter, sample_ids) if sample_ids else []
        age = now - finding.found_at
        if sample_ids and age > GIVE_UP_AFTER:
            report.given_up += await self._give_up(finding, sample_ids, age)
            sample_ids = []
        checked = finding.still_missing(sample_ids, now + min(age, MAX_CHECK_INTERVAL))
        await self._store.write_finding(checked)
        healed = sum(status not in (None, Status.DELETED) for status in outcomes.values())
        report.healed += healed
        metrics.HEALED.inc(healed)
        if sample_ids and finding.checks < MAX_TRIGGERS:
            report.triggered += await self._store.trigger(finding.submitter, sample_ids)
        if sample_ids:
            logger.error(
                "audit: %d samples of %s have no current result %s after the audit triggered the function again: %s",
                len(sample_ids),
                finding.submitter,
                timedelta(seconds=round(age.total_seconds())),
                _listed(sample_ids),
            )
        return checked

    async def _give_up(self, finding: Finding, sample_ids: Sequence[str], age: timedelta) -> int:
        reason = (
            f"the function did not compute this sample, although the audit triggered the function again "
            f"{age.total_seconds() / 3600:.0f} hours ago; recompute it to try again"
        )
        given_up = 0
        for sample_id in sample_ids:
            given_up += await self._results.give_up(finding.submitter, sample_id, reason) is not None
        logger.error("audit: stored FAILED for %d samples of %s: %s", given_up, finding.submitter, _listed(sample_ids))
        return given_up

    def _set_metric(self, state: AuditState) -> None:
        """Set the metric of the time up to which all samples are checked.

        The instance with the latest time counts in the alert of `MISSING`, so this instance must have set `MISSING` in
        the same run. Only an instance that has never run has the right value, 0, without a run.
        """
        self._has_metric = True
        metrics.CHECKED_UNTIL.set(state.checked_until.timestamp())


def _listed(sample_ids: Sequence[str]) -> str:
    more = len(sample_ids) - MAX_LOGGED_IDS
    return ", ".join(sample_ids[:MAX_LOGGED_IDS]) + (f" and {more} more" if more > 0 else "")

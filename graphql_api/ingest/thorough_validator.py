"""The thorough validation of small samples that are invalid or have an unusual form."""

from datetime import tzinfo
from functools import partial

from graphql_api.budgets.budgets import Budgets
from graphql_api.ingest.fair_executor import FairExecutor
from graphql_api.ingest.submitter_settings import SubmitterSettings
from storage.documents.validation import payload
from storage.documents.validation.validation_report import ValidationReport

_MAX_BYTES_ON_LOOP = 16 * 1024
"""Larger samples are read in a thread, because the report on their problems takes up to 400 ns per byte."""

_MIN_TURN_BYTES = 1024
"""A report on a smaller sample takes less than 0.5 ms."""


class ThoroughValidator:
    """Reports all problems of samples that the quick validation rejects."""

    def __init__(
        self, threads: FairExecutor, settings: SubmitterSettings, budgets: Budgets, time_zone: tzinfo | None
    ) -> None:
        self._threads = threads
        self._settings = settings
        self._budgets = budgets
        self._time_zone = time_zone

    async def validate(self, raw: bytes, submitter: str) -> ValidationReport:
        """Return the report on a sample. Raises `NotJson`."""
        skips_missing = (await self._settings.current(submitter)).skips_missing
        validate = partial(payload.validate_thoroughly, raw, self._time_zone, skips_missing=skips_missing)
        if len(raw) > _MAX_BYTES_ON_LOOP:
            return await self._threads.run(submitter, validate)
        if len(raw) > _MIN_TURN_BYTES:
            await self._budgets.turns.wait(submitter)
        return validate()

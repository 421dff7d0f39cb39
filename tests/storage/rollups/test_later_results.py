"""Which results are later than the rollups."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.firestore import encoding
from storage.firestore.messages import Document
from storage.rollups.checkpoint import Checkpoint
from storage.rollups.later_results import LaterResults
from storage.rollups.merged_statistics import FIELDS
from storage.rollups.rollup import Resolution
from storage.rollups.series import ALL_RESULTS

AS_OF = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("written_at", "is_later"), [(-1, False), (0, False), (1, True), (2, True), (3, False)])
def test_a_result_is_later_if_it_was_written_after_the_checkpoint_and_not_after_the_part(
    written_at: int, is_later: bool
) -> None:
    """The time of the write decides. `computed_at` selects the results, and can be earlier."""
    later = LaterResults(Checkpoint(AS_OF), {}, Resolution.HOUR, AS_OF + 2 * SECOND)
    document = Document()
    document.update_time.FromDatetime(AS_OF + written_at * SECOND)
    for name, value in {"computed_at": AS_OF, "timestamp": AS_OF, **dict.fromkeys(FIELDS, 1.0), "count": 1}.items():
        document.fields[name].CopyFrom(encoding.to_value(value))

    later.add(document, ALL_RESULTS)

    assert bool(later.statistics) is is_later

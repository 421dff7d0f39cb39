"""A summary of many hours lets other requests run."""

from datetime import datetime

import pytest

from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.results.filters import Selection
from graphql_api.results.rolled_up_results import Group, sorted_groups
from graphql_api.results.store import Store
from graphql_api.results.summaries import TimeBucket, summarize, summarize_over_time
from tests.triggers.result_database import SUBMITTER
from tests.triggers.rollups.conftest import Database
from tests.triggers.rollups.summary_check import HOUR, START


class CountedTurns(LoopTurns):
    """Counts the turns that work has started."""

    started = 0

    def of(self, submitter: str) -> LoopTurn:
        self.started += 1
        return super().of(submitter)


@pytest.mark.parametrize("is_over_time", [False, True])
@pytest.mark.parametrize("names", [[], ["site"]])
async def test_all_hours_of_a_summary_share_a_turn(database: Database, names: list[str], *, is_over_time: bool) -> None:
    """The work for one hour is too short for a pause. With a turn for each hour, thousands of hours had no pause."""
    hours = iter(START + number * HOUR for number in range(24))

    async def turns_of_summary(more_hours: int) -> int:
        for _ in range(more_hours):
            timestamp: datetime = next(hours)
            await database.compute(timestamp, [1.0], {"site": "a"})
        await database.build()
        turns = CountedTurns()
        store = Store(database.firestore, turns, shards=database.shards)
        if is_over_time:
            assert await summarize_over_time(store, SUBMITTER, Selection(), TimeBucket.HOUR, names)
        else:
            assert await summarize(store, SUBMITTER, Selection(), names)
        return turns.started

    assert await turns_of_summary(2) == await turns_of_summary(20)


class CountedTurn(LoopTurn):
    """Counts the places where work can pause."""

    pauses = 0

    async def pause(self) -> None:
        self.pauses += 1


async def test_thousands_of_groups_are_sorted_in_steps() -> None:
    """A time bucket can have 20,000 groups. Sorting them in one step would take 30 ms or more."""
    turn = CountedTurn(LoopTurns(), SUBMITTER)
    given: list[Group] = [(site, str(number)) for number in reversed(range(1_200)) for site in ("b", None, "a")]

    ordered = await sorted_groups(given, turn)

    assert ordered == sorted(given, key=lambda group: [each or "" for each in group])
    assert turn.pauses >= len(given)

"""The fair queue, without a function: which event is next, and how many of a group are in flight."""

import asyncio
import random

import pytest

from infra.embedded.eventarc.delivery.delivery import Delivery
from infra.embedded.eventarc.delivery.fair_queue import MAX_LOADED_BYTES, MAX_LOADED_EVENTS, FairQueue
from infra.embedded.firestore.storage.versions import Change


def event(group: int, sequence: int, size: int = 0) -> Delivery:
    """Return an event of a group."""
    return Delivery(Change(sequence, 0, f"documents/{group}/{sequence}", None, bytes(size)), group)


def queue_with(lanes: int, *events: Delivery) -> FairQueue:
    """Return a queue whose lanes are all open."""
    queue = FairQueue(lanes)
    for _ in range(lanes):
        queue.add_lane()
    for each in events:
        queue.add(each.group, each.sequence, each)
    return queue


async def take_all(queue: FairQueue) -> list[Delivery]:
    """Take events until none is available without a release."""
    taken: list[Delivery] = []
    while True:
        task = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        if not task.done():
            task.cancel()
            return taken
        taken.append(task.result())


async def test_groups_take_turns() -> None:
    """An event of the second group does not wait for the backlog of the first one."""
    queue = queue_with(1, *(event(1, sequence) for sequence in range(1, 6)), event(2, 6), event(2, 7))

    order = []
    for _ in range(7):
        delivery = await queue.take()
        order.append(delivery.group)
        queue.remove(delivery.group, delivery.sequence)
        queue.release(delivery)

    assert order == [1, 2, 1, 2, 1, 1, 1]


async def test_a_queue_waits_until_each_reason_of_its_pause_has_ended() -> None:
    """The end of a slow trial does not end the trial of another suspect, which other events must not disturb."""
    queue = queue_with(1, event(1, 1))
    queue.pause("a")
    queue.pause("b")

    queue.resume("a")
    before = await take_all(queue)
    queue.resume("b")

    assert (before, [each.sequence for each in await take_all(queue)]) == ([], [1])


async def test_a_failed_event_is_sent_before_new_events_of_its_group() -> None:
    """New events that arrive all the time would otherwise delay it forever."""
    queue = queue_with(1, event(1, 2), event(1, 3))
    queue.add_retry(event(1, 1))

    assert (await queue.take()).sequence == 1


async def test_a_quarter_of_the_lanes_is_reserved_for_groups_without_an_event_in_flight() -> None:
    """Slow events of several groups together do not block a further group."""
    queue = queue_with(8, *(event(group, 10 * group + number) for group in range(1, 5) for number in range(5)))

    slow = await take_all(queue)
    for group in (5, 6):
        queue.add(group, 100 + group, event(group, 100 + group))
    others = await take_all(queue)

    assert len(slow) == 6
    assert [delivery.group for delivery in others] == [5, 6]


def test_acknowledged_events_make_room_for_others() -> None:
    """The limit of the memory is for the events that are in it now."""
    queue = FairQueue(4)

    for sequence in (1, 2):
        queue.add(1, sequence, event(1, sequence, MAX_LOADED_BYTES))
        assert queue.is_full
        queue.remove(1, sequence)

    assert not queue.is_full


def test_a_group_whose_changes_need_no_delivery_is_forgotten() -> None:
    """A trigger can ignore all changes of millions of documents, for example because none is a deletion."""
    queue = FairQueue(4)
    queue.add(1, 1, None)
    groups = queue.take_positions().values()

    queue.load(groups, [])

    assert not queue.groups


def test_events_that_are_being_read_are_not_saved() -> None:
    """The cursor of a group stays before them. After a crash, they would otherwise be lost."""
    queue = queue_with(4)
    for sequence in (1, 2):
        queue.add(1, sequence, None)
    group = queue.groups[1]
    stored = group.first_unsaved({})
    assert list(queue.take_positions()) == [1, 2]
    queue.add(1, 3, event(1, 3))

    assert (stored, group.first_unsaved({}), group.first_unsaved({1: None, 2: None})) == (1, 1, 3)


async def test_slow_events_of_one_group_occupy_at_most_half_of_the_lanes() -> None:
    """The other lanes are free for the next group, at once."""
    queue = queue_with(8, *(event(1, sequence) for sequence in range(1, 100)))

    slow = await take_all(queue)
    queue.add(2, 100, event(2, 100))
    [other] = await take_all(queue)

    assert len(slow) == 4
    assert other.group == 2


async def test_slow_events_of_many_groups_leave_a_lane_for_another_group() -> None:
    """A quarter of the lanes is reserved for groups without an event in flight."""
    events = [event(group, 10 * group + number) for group in range(1, 4) for number in range(5)]
    queue = queue_with(8, *events)

    slow = await take_all(queue)
    queue.add(9, 100, event(9, 100))
    [other] = await take_all(queue)

    assert len(slow) <= 6
    assert other.group == 9


async def test_events_beyond_the_limit_are_positions() -> None:
    """A backlog of 100,000 events holds at most half of the limit in memory; another group is still served at once."""
    queue = queue_with(8)
    for sequence in range(1, 100_001):
        queue.add(1, sequence, event(1, sequence))
    queue.add(2, 100_001, event(2, 100_001))

    groups = {delivery.group for delivery in await take_all(queue)}

    assert len(queue.groups[1].window) == MAX_LOADED_EVENTS // 2
    assert len(queue.groups[1].positions) == 100_000 - MAX_LOADED_EVENTS // 2
    assert groups == {1, 2}


async def test_positions_are_loaded_after_the_events_before_them_were_withdrawn() -> None:
    """Otherwise they would wait until the next write of their group."""
    queue = queue_with(1, *(event(1, sequence) for sequence in range(1, 51)))
    for sequence in range(51, 61):
        queue.add(1, sequence, None)
    first = await queue.take()
    waiting = queue.take_positions()

    withdrawn = queue.withdraw(1, 100)

    assert waiting == {}
    assert [first.sequence, *(each.sequence for each in withdrawn)] == list(range(1, 51))
    assert queue.loaded.is_set()
    assert list(queue.take_positions()) == list(range(51, 61))


@pytest.mark.parametrize("seed", range(5))
async def test_every_event_is_taken_once(seed: int) -> None:
    """Whichever events are read as positions, fail to be sent or are slow, in every order."""
    chance = random.Random(seed)
    queue = queue_with(chance.choice((1, 4, 20)))
    pending = {sequence: chance.randrange(6) for sequence in range(1, 3_000)}
    added = iter(pending.items())
    taken: list[int] = []
    in_flight: list[Delivery] = []
    while len(taken) < len(pending):
        for _ in range(chance.randrange(60)):
            if (item := next(added, None)) is not None:
                sequence, group = item
                queue.add(group, sequence, event(group, sequence) if chance.random() < 0.7 else None)
        positions = queue.take_positions()
        groups = {group.number: group for group in positions.values()}
        queue.load(groups.values(), [event(group.number, sequence) for sequence, group in positions.items()])
        in_flight += await take_all(queue)
        chance.shuffle(in_flight)
        for _ in range(chance.randrange(len(in_flight) + 1)):
            delivery = in_flight.pop()
            if chance.random() < 0.2:
                queue.put_back(delivery)
            else:
                taken.append(delivery.sequence)
                queue.remove(delivery.group, delivery.sequence)
                queue.release(delivery)

    assert sorted(taken) == sorted(pending)
    assert queue.groups == {}
    assert queue.pending == 0
    assert not queue.has_positions

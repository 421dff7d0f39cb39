"""A fair queue: groups of events take turns, and no group can occupy all lanes.

A lane is the right to have one event in flight.

- Groups with a free lane take turns, one event each. A group without an event in flight is first.
- With n groups, one group occupies at most `lanes / (n + 1)` lanes, but at least `MIN_SHARE`. Half of these may be
  retries.
- A quarter of the lanes is reserved for groups without an event in flight. Slow events of a few groups therefore never
  block the events of another group.
- After the function has crashed, `start_slowly` reduces the lanes to one. Each response adds a lane. `add_lanes`
  doubles the lanes, so that slow events do not keep their number low.

Events wait in memory within `MAX_LOADED_EVENTS` and `MAX_LOADED_BYTES`. Beyond that, the queue only stores positions.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice

from infra.embedded.eventarc.delivery.delivery import Delivery
from infra.embedded.eventarc.delivery.group import Group

MIN_LANES = 1
MIN_SHARE = 2
MAX_LOADED_EVENTS = 1_000
MAX_LOADED_BYTES = 32 * 1024 * 1024
MAX_LOAD = 50  # events per read of the change feed; an event may hold two documents of 1 MiB
LOW_EVENTS = 32  # if fewer events of a group wait, it loads further events
MAX_CONSIDERED_GROUPS = 256


class FairQueue:
    """The events of one trigger that are not acknowledged, by group."""

    def __init__(self, lanes: int) -> None:
        """Create an empty queue."""
        self.groups: dict[int, Group] = {}
        self.changed: set[int] = set()
        """Numbers of groups whose first unacknowledged event may have changed. The queue's owner clears this set."""
        self.loaded = asyncio.Event()
        """Set when there may be positions to load, or room for more events."""
        self.in_flight: set[Delivery] = set()
        self.drained = asyncio.Event()
        """Set while no event is in flight."""
        self.drained.set()
        self.restricted: set[int] = set()
        """Groups that may have only one event in flight, or no event while they are held."""
        self._holds_restricted = False
        self.pending = 0
        """The number of events that are not acknowledged and have no row."""
        self._lanes = lanes
        self._reserved = lanes // 4
        self._open_lanes = MIN_LANES
        self._pauses: set[str] = set()
        self._loaded_events = 0
        self._loaded_bytes = 0
        self._idle: OrderedDict[int, Group] = OrderedDict()  # groups with a waiting event, and none in flight
        self._busy: OrderedDict[int, Group] = OrderedDict()  # groups with a waiting event and a free lane
        self._to_load: OrderedDict[int, Group] = OrderedDict()  # groups with positions, and few waiting events
        self._waiters: deque[asyncio.Future[Delivery]] = deque()

    # Filling

    @property
    def is_full(self) -> bool:
        """Whether the events in memory are at a limit."""
        return self._loaded_events >= MAX_LOADED_EVENTS or self._loaded_bytes >= MAX_LOADED_BYTES

    @property
    def is_idle(self) -> bool:
        """Whether no event in memory may be sent or is in flight."""
        return not self._idle and not self._busy and not self.in_flight

    @property
    def has_positions(self) -> bool:
        """Whether some waiting events do not have their documents in memory."""
        return self.pending > self._loaded_events

    def add(self, number: int, sequence: int, delivery: Delivery | None) -> None:
        """Add an event of group `number`. Without `delivery`, or if the memory is full, store only its position."""
        group = self._group(number)
        self.pending += 1
        if not group.window and not group.loading and not group.positions:
            self.changed.add(group.number)
        if delivery is None or group.positions or group.loading or not self._may_load(group):
            group.positions.append(sequence)
            self._load_if_low(group)
        else:
            self._load(group, delivery)

    def add_retry(self, delivery: Delivery) -> None:
        """Add a failed event that is due."""
        group = self._group(delivery.group)
        group.add_retry(delivery)
        self._offer(group)

    def take_positions(self) -> dict[int, Group]:
        """Return sequences to read from the change feed, with their groups. Call `load` with the result."""
        taken: dict[int, Group] = {}
        share = max(1, MAX_LOAD // max(1, len(self._to_load)))
        for group in list(islice(self._to_load.values(), MAX_CONSIDERED_GROUPS)):
            self._to_load.move_to_end(group.number)
            if len(taken) >= MAX_LOAD:
                break
            if group.loading or not self._may_load(group):
                continue
            count = 1 if self.is_full else min(share, MAX_LOAD - len(taken))
            group.loading = group.positions.take(count)
            taken |= dict.fromkeys(group.loading, group)
            if not group.positions:
                del self._to_load[group.number]
        return taken

    def load(self, groups: Iterable[Group], deliveries: Iterable[Delivery]) -> None:
        """Add events that were read. Positions in `groups` without such an event need no delivery."""
        for group in groups:
            self.pending -= len(group.loading)
            group.loading = []
            self.changed.add(group.number)
        for delivery in deliveries:
            self.pending += 1
            self._load(self._group(delivery.group), delivery)
        for group in groups:
            self._load_if_low(group)
            self._forget_if_empty(group)

    def _may_load(self, group: Group) -> bool:
        if self.is_full:  # a group without loaded events may still load, up to twice the limit
            return not group.window and self._loaded_bytes < 2 * MAX_LOADED_BYTES
        return len(group.window) < MAX_LOADED_EVENTS // 2 and group.window_bytes < MAX_LOADED_BYTES // 2

    def _load(self, group: Group, delivery: Delivery) -> None:
        group.add(delivery)
        self._loaded_events += 1
        self._loaded_bytes += delivery.size
        self._offer(group)

    def _load_if_low(self, group: Group) -> None:
        if group.positions and len(group.queued) < LOW_EVENTS and not group.loading:
            self._to_load[group.number] = group
            self.loaded.set()

    # Sending

    async def take(self) -> Delivery:
        """Return the next event to send, when a lane is free. Call `release` afterwards."""
        delivery = self._pop()
        if delivery is None:
            waiter: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            delivery = await waiter
        return delivery

    def release(self, delivery: Delivery) -> None:
        """Free the lane of an event."""
        group = self._group(delivery.group)
        self.in_flight.discard(delivery)
        if not self.in_flight:
            self.drained.set()
        group.in_flight -= 1
        self._offer(group)
        self._forget_if_empty(group)

    def put_back(self, delivery: Delivery) -> None:
        """Free the lane of an event that was not sent, and send the event again later."""
        self._group(delivery.group).put_back(delivery)
        self.release(delivery)

    def withdraw(self, number: int, limit: int) -> list[Delivery]:
        """Remove up to `limit` waiting events of a group, and return them. They still count as unsaved."""
        group = self._group(number)
        withdrawn = group.withdraw(limit)
        self._load_if_low(group)
        return withdrawn

    def remove(self, number: int, sequence: int) -> None:
        """Remove an event that is acknowledged, or whose row is saved."""
        group = self._group(number)
        delivery = group.remove(sequence)
        if delivery is not None:
            self.pending -= 1
            self._loaded_events -= 1
            self._loaded_bytes -= delivery.size
            self.changed.add(group.number)
            if self._to_load:
                self.loaded.set()
        self._forget_if_empty(group)

    def max_retries(self) -> int:
        """Return the maximum number of retries of one group at the same time."""
        return max(1, self._share // 2)

    def free_retries(self) -> int:
        """Return the number of retries that may be added now. Half of the lanes are for events that never failed."""
        return max(1, self._lanes // 2) - sum(len(group.retrying) for group in self.groups.values())

    def add_lane(self) -> None:
        """Use one more lane, up to the maximum."""
        if self._open_lanes < self._lanes:
            self._open_lanes += 1
            self._serve()

    def add_lanes(self) -> None:
        """Use twice as many lanes, up to the maximum."""
        if self._open_lanes < self._lanes:
            self._open_lanes *= 2
            self._serve()

    def start_slowly(self) -> None:
        """Use one lane only."""
        self._open_lanes = MIN_LANES

    def pause(self, reason: str) -> None:
        """Return no events from `take` until `resume` was called for each reason."""
        self._pauses.add(reason)

    def resume(self, reason: str) -> None:
        """End the pause for a reason."""
        self._pauses.discard(reason)
        self._serve()

    def restrict(self, groups: set[int], *, holds_all: bool) -> None:
        """Restrict these groups, and no other groups, to one event in flight each, or to none with `holds_all`."""
        released = self.restricted if not holds_all else self.restricted - groups
        self.restricted, self._holds_restricted = groups, holds_all
        for number in released:
            if number in self.groups:
                self._offer(self.groups[number])

    @property
    def _share(self) -> int:
        return max(MIN_SHARE, self._lanes // (len(self.groups) + 1))

    def _group(self, number: int) -> Group:
        group = self.groups.get(number)
        if group is None:
            group = self.groups[number] = Group(number)
        return group

    def _forget_if_empty(self, group: Group) -> None:
        if group.is_empty:
            self.groups.pop(group.number, None)

    def _offer(self, group: Group) -> None:
        """Let a group take part in the rotation if it has an event that may be sent."""
        if self._may_send(group):
            if group.in_flight:
                self._busy[group.number] = group
            else:
                self._busy.pop(group.number, None)
                self._idle[group.number] = group
        self._serve()

    def _may_send(self, group: Group) -> bool:
        limit = self._share
        if group.number in self.restricted:
            limit = 0 if self._holds_restricted else 1
        return group.has_events and group.in_flight < limit

    def _serve(self) -> None:
        while self._waiters:
            if self._waiters[0].done():  # cancelled
                self._waiters.popleft()
                continue
            delivery = self._pop()
            if delivery is None:
                return
            self._waiters.popleft().set_result(delivery)

    def _pop(self) -> Delivery | None:
        if self._pauses or len(self.in_flight) >= min(self._open_lanes, self._lanes):
            return None
        while self._idle:
            _, group = self._idle.popitem(last=False)
            if self._may_send(group):
                return self._take_from(group)
        while self._busy and len(self.in_flight) < self._lanes - self._reserved:
            _, group = self._busy.popitem(last=False)
            if self._may_send(group):
                return self._take_from(group)
        return None

    def _take_from(self, group: Group) -> Delivery:
        delivery = group.take()
        self.in_flight.add(delivery)
        self.drained.clear()
        if self._may_send(group):
            self._busy[group.number] = group
        self._load_if_low(group)
        return delivery

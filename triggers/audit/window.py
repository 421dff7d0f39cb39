"""A window: a range of the times at which samples were submitted."""

from datetime import datetime, timedelta
from typing import NamedTuple

_MICROSECOND = timedelta(microseconds=1)


class Window(NamedTuple):
    """The times from `start` up to, but not including, `end`."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """The time between start and end."""
        return self.end - self.start

    @property
    def is_divisible(self) -> bool:
        """Whether both halves of the window are shorter. Times have a precision of one microsecond."""
        return self.length > _MICROSECOND

    def halves(self) -> tuple["Window", "Window"]:
        """Return the first and the second half."""
        middle = self.start + self.length // 2
        return Window(self.start, middle), Window(middle, self.end)

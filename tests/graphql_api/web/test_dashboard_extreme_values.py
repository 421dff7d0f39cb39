"""The plot of values near the largest double, in a real browser."""

import sys

from tests.graphql_api.web.dashboard import Dashboard
from tests.graphql_api.web.lines import submit_lines
from tests.stack import Stack

LARGEST = sys.float_info.max


def test_a_band_beyond_the_largest_double_does_not_hide_the_means(stack: Stack, dashboard: Dashboard) -> None:
    """The mean minus the deviation is less than the smallest double. One mean is far from the others."""
    key = stack.new_key("extreme-values")
    wide = [*[-LARGEST] * 21, *[LARGEST] * 19]
    lines = [{"time_stamp": f"2026-11-24T01:{minute:02}:00Z", "data": wide} for minute in range(1, 6)]
    for sample_id in submit_lines(stack, key, [*lines, {"time_stamp": "2026-11-24T01:06:00Z", "data": [LARGEST]}]):
        stack.wait_for(sample_id, key=key)

    dashboard.open(stack, key=key)

    dashboard.wait_for(lambda: dashboard.text(".left-out") == "1 mean far from the others is left out. Show")
    dashboard.wait_for(lambda: dashboard.painted(".plot canvas", like=".key-point"))

"""The plot of a soak: four charts in one SVG, without a library, because each is a few lines."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape

from tests.soak.measurements import PROCESSES, Measurement

WIDTH, HEIGHT = 480, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 44, 28
"""The space around the lines of a chart: numbers, title and legend."""
COLORS = ("#1f77b4", "#d95f02", "#2a9d5c")
STEPS = 4


def _memory(process: str, each: Measurement) -> float | None:
    return each.memory.get(process)


def _open_files(process: str, each: Measurement) -> float | None:
    return each.open_files.get(process)


Values = Callable[[Measurement], float | None]
CHARTS: Mapping[str, Mapping[str, Values]] = {
    "Memory, MiB": {name: partial(_memory, name) for name in PROCESSES},
    "Open files": {name: partial(_open_files, name) for name in PROCESSES},
    "Data file of Firestore, MiB": {"data file": lambda each: each.file_mib, "log": lambda each: each.log_mib},
    "Request, ms": {
        "median": lambda each: each.median_seconds * 1000,
        "slowest": lambda each: each.slowest_seconds * 1000,
    },
}


def plot(measurements: Sequence[Measurement]) -> str:
    """Return the SVG. The horizontal axis of each chart is the time in minutes."""
    charts = [
        f'<g transform="translate({column * WIDTH} {row * HEIGHT})">{_chart(title, lines, measurements)}</g>'
        for (row, column), (title, lines) in zip(((0, 0), (0, 1), (1, 0), (1, 1)), CHARTS.items(), strict=True)
    ]
    size = f'width="{2 * WIDTH}" height="{2 * HEIGHT}" viewBox="0 0 {2 * WIDTH} {2 * HEIGHT}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            *charts,
            "</svg>",
            "",
        ]
    )


def _chart(title: str, lines: Mapping[str, Values], measurements: Sequence[Measurement]) -> str:
    points = {name: [(each.minute, value(each)) for each in measurements] for name, value in lines.items()}
    highest = _round_up(max((value for line in points.values() for _, value in line if value), default=1.0))
    end = max((each.minute for each in measurements), default=1.0) or 1.0

    def x(minute: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * minute / end, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest, 1)

    parts = [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(title)}</text>']
    for step in range(STEPS + 1):
        value, minute = highest * step / STEPS, end * step / STEPS
        parts.append(f'<path d="M{LEFT} {y(value)}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text x="{x(minute)}" y="{HEIGHT - 10}" text-anchor="middle">{minute:.3g}</text>')
    for number, (color, (name, line)) in enumerate(zip(COLORS, points.items(), strict=False)):
        drawn = " ".join(f"{x(minute)},{y(value)}" for minute, value in line if value is not None)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{drawn}"/>')
        parts.append(f'<text x="{LEFT + 90 * number}" y="32" fill="{color}">{escape(name)}</text>')
    return "".join(parts)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 6, 8 or 10 times a power of ten, so that the steps are short numbers."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return power * next(factor for factor in (1, 2, 4, 6, 8, 10) if value <= factor * power * 1.000001)

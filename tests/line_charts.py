"""Line charts as SVG, two in a row, without a library: a reader of the repository sees them without any software."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Line = Sequence[tuple[float, float | None]]
"""Points. A value of None leaves a point out."""

_WIDTH, _HEIGHT = 480, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 44, 28
"""The space around the lines of a chart: numbers, title and legend."""
_LEGEND_WIDTH = 104
_COLORS = ("#1f77b4", "#d95f02", "#2a9d5c", "#7b4fa3")
_STEPS = 4
_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of up to four lines by name.

    If `is_logarithmic` is true, both axes are logarithmic, and all values are positive. Otherwise, both axes start
    at 0.
    """

    title: str
    lines: Mapping[str, Line]
    is_logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class _Axis:
    """The numbers of an axis, and the positions of values in pixels."""

    numbers: Sequence[float]
    start: int
    length: int
    """Negative if the axis goes up."""
    is_logarithmic: bool

    def position(self, value: float) -> float:
        low, high = self.numbers[0], self.numbers[-1]
        if self.is_logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return round(self.start + self.length * (value - low) / (high - low), 1)


def svg(charts: Sequence[Chart]) -> str:
    """Return the charts as one SVG."""
    placed = []
    for number, chart in enumerate(charts):
        row, column = divmod(number, _COLUMNS)
        placed.append(f'<g transform="translate({column * _WIDTH} {row * _HEIGHT})">{_drawn(chart)}</g>')
    width, height = _COLUMNS * _WIDTH, -(-len(charts) // _COLUMNS) * _HEIGHT
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            *placed,
            "</svg>",
            "",
        ]
    )


def _drawn(chart: Chart) -> str:
    points = [(at, value) for line in chart.lines.values() for at, value in line if value is not None]
    positions, values = [at for at, _ in points], [value for _, value in points]
    if chart.is_logarithmic:
        x_numbers, y_numbers = _powers(positions), _powers(values)
    else:
        x_numbers, y_numbers = _even(max(positions, default=1.0)), _steps(values)
    x = _Axis(x_numbers, _LEFT, _WIDTH - _LEFT - _RIGHT, chart.is_logarithmic)
    y = _Axis(y_numbers, _HEIGHT - _BOTTOM, -(_HEIGHT - _TOP - _BOTTOM), chart.is_logarithmic)
    parts = [f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(chart.title)}</text>']
    for value in y.numbers:
        parts.append(f'<path d="M{_LEFT} {y.position(value)}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y.position(value) + 4}" text-anchor="end">{value:,g}</text>')
    for value in x.numbers:
        text = f"{value:,.0f}" if chart.is_logarithmic else f"{value:.3g}"
        anchor = "end" if value == x.numbers[-1] else "middle"  # a long number must not cross the edge of the plot
        parts.append(f'<text x="{x.position(value)}" y="{_HEIGHT - 10}" text-anchor="{anchor}">{text}</text>')
    for number, (color, (name, line)) in enumerate(zip(_COLORS, chart.lines.items(), strict=False)):
        drawn = " ".join(f"{x.position(at)},{y.position(value)}" for at, value in line if value is not None)
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{drawn}"/>')
        parts.append(f'<text x="{_LEFT + _LEGEND_WIDTH * number}" y="32" fill="{color}">{escape(name)}</text>')
    return "".join(parts)


def _even(end: float) -> list[float]:
    return [(end or 1.0) * step / _STEPS for step in range(_STEPS + 1)]


def _steps(values: Sequence[float]) -> list[float]:
    """Return 0 and four steps up to the next of 1, 2, 4, 6, 8 or 10 times a power of ten, so the numbers are short."""
    highest = max(values, default=1.0) or 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return _even(power * next(factor for factor in (1, 2, 4, 6, 8, 10) if highest <= factor * power * 1.000001))


def _powers(values: Sequence[float]) -> list[float]:
    """Return the powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**exponent for exponent in range(low, max(high, low + 1) + 1)]

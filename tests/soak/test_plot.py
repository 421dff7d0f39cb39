"""The plot of a soak contains every measurement."""

from xml.etree import ElementTree

from tests.soak.measurements import Measurement
from tests.soak.plot import CHARTS, plot

SVG = "{http://www.w3.org/2000/svg}"


def measured(minute: float, **memory: float) -> Measurement:
    """Return a measurement; its open files are as many as the MiB of its memory."""
    return Measurement(minute, 100, 0, 0.02, 0.31, memory, memory, {}, 30 + minute, 0, 4, 0)


def test_each_line_has_a_point_per_measurement() -> None:
    """A process that did not respond has no point at that time."""
    svg = ElementTree.fromstring(plot([measured(0, api=90, function=80), measured(1, api=95), measured(2, api=96)]))

    lines = [line.attrib["points"].split() for line in svg.iter(f"{SVG}polyline")]
    texts = [text.text for text in svg.iter(f"{SVG}text")]

    assert [len(line) for line in lines] == [3, 1, 0, 3, 1, 0, 3, 3, 3, 3]
    assert set(CHARTS) <= set(texts)
    assert {"100", "2", "400"} <= set(texts)


def test_values_are_drawn_to_scale() -> None:
    """The chart of the memory ends at 100 MiB and two minutes."""
    svg = ElementTree.fromstring(plot([measured(0, api=50), measured(2, api=100)]))

    points = next(svg.iter(f"{SVG}polyline")).attrib["points"]

    assert points == "52.0,118.0 468.0,44.0"


def test_a_soak_without_measurements_has_an_empty_plot() -> None:
    """It ended within the first interval."""
    assert plot([]).count("<polyline") == 10

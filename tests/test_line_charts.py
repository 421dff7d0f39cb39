"""Charts with logarithmic axes. `tests/soak/test_plot.py` tests charts with linear axes."""

from xml.etree import ElementTree

from tests import line_charts
from tests.line_charts import Chart

SVG = "{http://www.w3.org/2000/svg}"


def test_powers_of_ten_have_equal_distances() -> None:
    """The axes end at the powers of ten around the values."""
    line = [(1_000.0, 2.0), (10_000.0, None), (100_000.0, 20.0)]

    svg = ElementTree.fromstring(line_charts.svg([Chart("times", {"page": line}, is_logarithmic=True)]))

    points = next(svg.iter(f"{SVG}polyline")).attrib["points"]
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert points == "52.0,169.7 468.0,95.7"
    assert texts == ["times", "1", "10", "100", "1,000", "10,000", "100,000", "page"]

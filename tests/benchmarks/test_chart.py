from __future__ import annotations

from xml.etree import ElementTree as ET

from benchmarks.chart import svg
from benchmarks.results import Sample


def test_the_chart_is_an_image_with_a_bar_for_each_side() -> None:
    samples = [
        Sample("A", side, {"rate": rate}) for side, rate in (("Counterfoil", 900.0), ("a & b", 700.0), ("rq", 90.0))
    ]
    drawn = ET.fromstring(svg(samples, "Counterfoil"))  # noqa: S314 - our own text
    assert len(drawn.findall("{*}rect")) == 3
    assert "a & b" in [text.text for text in drawn.findall("{*}text")]

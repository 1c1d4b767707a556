"""The report's drawings: scales that keep their promise, and elements that no text can break out of."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import Markup

from tools.report.charts import MOST_POINTS, Bar, Line, Mark, bars, histogram, line_chart
from tools.report.comparison_plots import DifferenceRow, DumbbellRow, dumbbell_plot, interval_plot
from tools.report.scales import Scale, duration, finite, number, signed, thinned, ticks
from tools.report.svg import element
from tools.statistics.bootstrap import Estimate

VALUES = st.floats(-1e9, 1e9, allow_subnormal=False).map(lambda value: 0.0 if abs(value) < 1e-9 else value)
HOSTILE = "<script>alert('1')</script>\"&"


class Drawing(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def places(drawn: str) -> list[float]:
    names = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "r")
    found = [float(value) for name, value in Drawing(drawn).attributes if name in names]
    points = [value for name, value in Drawing(drawn).attributes if name == "points"]
    return found + [float(one) for line in points for pair in line.split() for one in pair.split(",")]


@given(VALUES, VALUES, st.integers(1, 12), st.booleans())
@example(0.0, 0.0, 5, False)
@example(1.0, 1.0, 5, True)
@example(1e9, 1e9, 4, False)
@example(0.0, 1e-9, 1, True)
def test_ticks_enclose_their_values_at_even_distances(a: float, b: float, about: int, whole: bool) -> None:
    marks = ticks(a, b, about, whole=whole)
    slack = 1e-6 * max(abs(a), abs(b), 1e-9)
    assert 2 <= len(marks) <= about + 3
    assert marks[0] <= min(a, b) + slack and marks[-1] >= max(a, b) - slack
    steps = [after - before for before, after in pairwise(marks)]
    assert min(steps) > 0 and math.isclose(min(steps), max(steps), rel_tol=1e-3)
    assert not whole or all(mark == round(mark) for mark in marks)


def difference(name: str, low: float, high: float) -> DifferenceRow:
    return DifferenceRow(name=name, difference=Estimate(value=(low + high) / 2, low=low, high=high))


@given(VALUES, st.floats(1e-6, 1e9), st.lists(VALUES, min_size=2), st.booleans())
def test_a_scale_keeps_order_and_stays_within_its_axis(low: float, span: float, values: list[float], up: bool) -> None:
    start, end = (300.0, 20.0) if up else (20.0, 300.0)
    if not low < low + span:
        return
    scale = Scale(low, low + span, start, end)
    assert (scale(low), scale(low + span)) == (start, end)
    drawn = [scale(value) for value in sorted(values)]
    assert drawn == sorted(drawn, reverse=up)
    assert all(20 <= place <= 300 for place in drawn)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=900), st.integers(1, 300))
def test_thinning_keeps_the_mean_and_the_bound(points: list[tuple[float, float]], most: int) -> None:
    kept = thinned(points, most)
    assert len(kept) == min(len(points), most)
    assert all(min(y for _, y in points) - 1 <= y <= max(y for _, y in points) + 1 for _, y in kept)


def test_what_is_no_number_is_never_drawn() -> None:
    points = tuple((float(x), y) for x, y in enumerate([1.0, math.nan, math.inf, 2.0], 1))
    drawn = line_chart("loss", [Line(name="loss", points=points)], x="step", y="loss")
    assert "nan" not in drawn.lower() and "inf" not in drawn.lower()
    assert finite([1.0, math.nan, None, -math.inf]) == [1.0]
    assert len(finite(places(drawn))) == len(places(drawn))


def test_degenerate_charts_are_still_charts() -> None:
    one = line_chart("loss", [Line(name="loss", points=((1.0, 0.7),))], x="step", y="loss")
    drawn = [
        one,
        line_chart("loss", [], x="step", y="loss"),
        line_chart("loss", [Line(name="loss", points=((1.0, math.nan),))], x="step", y="loss"),
        line_chart("flat", [Line(name="flat", points=((1.0, 0.0), (2.0, 0.0)))], x="step", y="loss"),
        histogram("none", [0] * 20, low=0, high=100, x="score"),
        bars("none", [], unit="rows"),
        bars("zero", [Bar(name="drawn", value=0), Bar(name="kept", value=0)], unit="rows", of_first=True),
        interval_plot("none differ", [difference("guarded", 0, 0)], x="points"),
        dumbbell_plot("one", [DumbbellRow(name="json", count=0, base=0, adapter=0)], x="passed"),
    ]
    for one in drawn:
        parsed = Drawing(one)
        assert parsed.tags[:3] == ["svg", "title", "desc"], "every drawing says what it is"
        assert all(math.isfinite(place) for place in places(one))


def test_a_long_series_is_drawn_by_its_means() -> None:
    points = tuple((float(step), float(step % 7)) for step in range(1, 50_001))
    drawn = line_chart("loss", [Line(name="loss", points=points)], x="step", y="loss")
    (line,) = [value for name, value in Drawing(drawn).attributes if name == "points"]
    assert len(line.split()) == MOST_POINTS
    assert len(drawn) < 20_000


def test_the_zero_line_is_always_on_an_interval_plot() -> None:
    for low, high in ((0.1, 0.3), (-0.3, -0.1), (-0.1, 0.2)):
        drawn = interval_plot("d", [difference("guarded", low, high)], x="points")
        attributes = Drawing(drawn).attributes
        zero = attributes.index(("class", "zero"))
        x = {float(value) for name, value in attributes[zero - 4 : zero] if name in ("x1", "x2")}
        assert len(x) == 1 and 150 <= min(x) <= 570


@given(st.text(max_size=40))
@example(HOSTILE)
def test_no_text_breaks_out_of_a_drawing(hostile: str) -> None:
    clean = Drawing(bars("t", [Bar(name="a", value=1)], unit="u")).tags
    assert Drawing(bars(hostile, [Bar(name=hostile, value=1, note=hostile or "1")], unit=hostile)).tags == clean
    mark = [Mark(name=hostile, value=1.0)]
    line = line_chart(hostile, [Line(name=hostile, points=((1, 1), (2, 2)))], x=hostile, y=hostile, marks=mark)
    assert set(Drawing(line).tags) <= {"svg", "title", "desc", "line", "text", "polyline", "circle"}
    rows = [difference(hostile, -1, 1)]
    assert set(Drawing(interval_plot(hostile, rows, x=hostile)).tags) <= {
        *("svg", "title", "desc", "line", "text", "circle"),
    }


def test_elements_escape_text_and_take_markup_as_it_is() -> None:
    assert element("text", "<b>", class_='a"b') == Markup('<text class="a&#34;b">&lt;b&gt;</text>')
    assert element("g", element("line"), fill=None) == "<g><line></line></g>"


def test_numbers_as_a_person_writes_them() -> None:
    minus = "\N{MINUS SIGN}"
    assert [number(v) for v in (0, 0.5, 12.345, 1234.5, -0.25, 0.00001)] == [
        *("0", "0.5", "12.3", "1,234", f"{minus}0.25", f"1.0e{minus}05"),
    ]
    assert [signed(v) for v in (6.25, -2.08, 0.0, -0.01)] == ["+6.2", f"{minus}2.1", "0.0", "0.0"]
    assert [duration(v) for v in (0.25, 59, 61, 7260)] == ["0.2 s", "59 s", "1 min 1 s", "2 h 1 min"]

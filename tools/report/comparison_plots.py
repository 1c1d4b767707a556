"""Base against adapter: differences with their intervals around a reference line, and two dots for each slice.

Each plot has a narrow form for a phone, where a row's name and figures stand above it: scaled down, they could not be
read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from state.records import Record
from tools.report.scales import Scale, number, signed, ticks
from tools.report.svg import NARROW, WIDTH, chart, element, horizontal_axis, line, text
from tools.statistics.bootstrap import Estimate

LEFT, RIGHT, PITCH = 150, 150, 30
EDGE, NARROW_PITCH = 14, 46
"""Margins and distance of rows in the narrow form."""


class DifferenceRow(Record):
    """One row of an interval plot."""

    name: str
    difference: Estimate
    """Adapter less base; or another figure with its interval."""
    strong: bool = False
    """Whether it decides the verdict."""


class DumbbellRow(Record):
    """What base and adapter reach in one slice."""

    name: str
    count: int
    base: float
    adapter: float
    interval: Estimate | None = None
    """Of the difference, adapter less base."""


class _Layout(Record):
    """Where the parts of a plot with rows stand."""

    width: float
    left: float
    right: float
    pitch: float
    narrow: bool

    def row(self, y: float, name: str, figures: str, weight: str) -> list[Markup]:
        """Return a row's name and figures: beside its drawing, or above it."""
        if self.narrow:
            places = ((self.left, y - 14, "start"), (self.width - self.right, y - 14, "end"))
        else:
            places = ((self.left - 14, y + 4, "end"), (self.width - self.right + 14, y + 4, "start"))
        (x, at, anchor), (beyond, level, side) = places
        return [text(x, at, name, f"name {weight}", anchor), text(beyond, level, figures, f"figure {weight}", side)]


def _layout(narrow: bool, left: float, right: float, pitch: float) -> _Layout:
    if narrow:
        return _Layout(width=NARROW, left=EDGE, right=EDGE, pitch=NARROW_PITCH, narrow=True)
    return _Layout(width=WIDTH, left=left, right=right, pitch=pitch, narrow=False)


def interval_plot(
    title: str,
    rows: Sequence[DifferenceRow],
    *,
    x: str,
    places: int = 1,
    around: float = 0.0,
    limits: Sequence[tuple[str, float]] = (),
    narrow: bool = False,
    above: bool = False,
) -> Markup:
    """Return figures with their intervals on one axis that always shows what they are held against.

    Args:
        title: what is compared.
        rows: from top to bottom, at least one.
        x: label of the axis, with its unit.
        places: decimals of the figures beside the plot.
        around: the value of no difference; signs are shown where it is 0.
        limits: further values to draw a broken line at, each with its name.
        narrow: whether it is for a phone.
        above: whether long names stand above their rows in a wide plot, too.
    """
    write: Callable[[float, int], str] = signed if around == 0 else lambda value, digits: f"{value:.{digits}f}"
    at = _layout(narrow, LEFT, RIGHT, PITCH)
    if above:
        at = at.model_copy(update={"left": EDGE, "right": EDGE, "pitch": NARROW_PITCH, "narrow": True})
    drawn = [row.difference for row in rows]
    values = [around, *(value for _, value in limits)]
    marks = ticks(
        min(values + [one.low for one in drawn]), max(values + [one.high for one in drawn]), 4 if narrow else 6
    )
    across = Scale(marks[0], marks[-1], at.left, at.width - at.right)
    top = 24 if at.narrow else 10
    floor = top + at.pitch * len(rows)
    parts = [horizontal_axis(across, marks, floor, x, 8), line(across(around), 4, across(around), floor, "zero")]
    for name, value in limits:
        parts += [line(across(value), 4, across(value), floor, "mark"), text(across(value) + 4, 10, name, "tick")]
    for place, (row, one) in enumerate(zip(rows, drawn, strict=True)):
        y = top + 14 + place * at.pitch
        weight = "strong" if row.strong else "plain"
        span = f"{write(one.value, places)}  [{write(one.low, places)}, {write(one.high, places)}]"
        parts += at.row(y, row.name, span, weight)
        parts += _whisker(across(one.low), across(one.high), y, weight)
        parts.append(element("circle", cx=across(one.value), cy=y, r=5 if row.strong else 4, class_=f"point {weight}"))
    says = "; ".join(
        f"{row.name} {number(one.value)}, 95% interval {number(one.low)} to {number(one.high)}"
        for row, one in zip(rows, drawn, strict=True)
    )
    return chart(title, f"{says}.", at.width, floor + 44, parts)


def _whisker(low: float, high: float, y: float, weight: str) -> list[Markup]:
    ends = [line(end, y - 5, end, y + 5, f"range {weight}") for end in (low, high)]
    return [line(low, y, high, y, f"range {weight}"), *ends]


def dumbbell_plot(title: str, rows: Sequence[DumbbellRow], *, x: str, narrow: bool = False) -> Markup:
    """Return two dots a row on an axis from 0 to 100: hollow for the base, full for the adapter.

    Where the difference has an interval, whiskers show how far from the base the adapter may lie.

    Args:
        title: what is compared.
        rows: from top to bottom; shares in [0, 1].
        x: label of the axis.
        narrow: whether it is for a phone.
    """
    at = _layout(narrow, 190, RIGHT + 24, 26)
    across = Scale(0, 100, at.left, at.width - at.right)
    top = 46 if narrow else 26
    floor = top + 8 + at.pitch * len(rows)
    parts = [horizontal_axis(across, ticks(0, 100, 5), floor, x, 26)]
    parts.append(element("circle", cx=at.left + 6, cy=10, r=5, class_="hollow"))
    parts.append(text(at.left + 16, 14, "base", "tick"))
    parts.append(element("circle", cx=at.left + 62, cy=10, r=3.4, class_="point strong"))
    parts.append(text(at.left + 72, 14, "adapter, and its interval", "tick"))
    for place, row in enumerate(rows):
        y = top + 16 + place * at.pitch
        before, after = across(100 * row.base), across(100 * row.adapter)
        parts += at.row(y, f"{row.name} ({row.count})", _figures(row), "plain")
        if (one := row.interval) is not None:
            parts += _whisker(across(100 * (row.base + one.low)), across(100 * (row.base + one.high)), y, "plain")
        parts.append(line(before, y, after, y, "range down" if row.adapter < row.base else "range strong"))
        parts.append(element("circle", cx=before, cy=y, r=5, class_="hollow"))
        parts.append(element("circle", cx=after, cy=y, r=3.4, class_="point strong"))
    says = "; ".join(f"{r.name}: base {100 * r.base:.0f}, adapter {100 * r.adapter:.0f} of 100{_says(r)}" for r in rows)
    return chart(title, f"{says}.", at.width, floor + 44, parts)


def _figures(row: DumbbellRow) -> str:
    both = f"{100 * row.base:.0f} \N{RIGHTWARDS ARROW} {100 * row.adapter:.0f}"
    one = row.interval
    return both if one is None else f"{both}  [{signed(100 * one.low, 0)}, {signed(100 * one.high, 0)}]"


def _says(row: DumbbellRow) -> str:
    one = row.interval
    if one is None:
        return ""
    return f", 95% interval of the difference {number(100 * one.low)} to {number(100 * one.high)}"

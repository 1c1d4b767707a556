"""Base against adapter: differences with their intervals around a zero line, and two dots for each slice."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from state.records import Record
from tools.report.scales import Scale, number, signed, ticks
from tools.report.svg import WIDTH, chart, element, horizontal_axis, line, text
from tools.statistics.bootstrap import Estimate

LEFT, RIGHT, PITCH = 150, 150, 30


class DifferenceRow(Record):
    """One row of an interval plot."""

    name: str
    difference: Estimate
    """Adapter less base."""
    strong: bool = False
    """Whether it decides the verdict."""


class DumbbellRow(Record):
    """What base and adapter reach in one slice."""

    name: str
    count: int
    base: float
    adapter: float


def interval_plot(title: str, rows: Sequence[DifferenceRow], *, x: str, places: int = 1) -> Markup:
    """Return differences on one axis that always shows 0.

    Args:
        title: what is compared.
        rows: from top to bottom, at least one.
        x: label of the axis, with its unit.
        places: decimals of the figures beside the plot.
    """
    drawn = [row.difference for row in rows]
    marks = ticks(min(0.0, *(one.low for one in drawn)), max(0.0, *(one.high for one in drawn)), 6)
    across = Scale(marks[0], marks[-1], LEFT, WIDTH - RIGHT)
    floor = 14 + PITCH * len(rows)
    parts = [horizontal_axis(across, marks, floor, x, 8), line(across(0), 4, across(0), floor, "zero")]
    for place, (row, one) in enumerate(zip(rows, drawn, strict=True)):
        y = 24 + place * PITCH
        weight = "strong" if row.strong else "plain"
        parts.append(text(LEFT - 14, y + 4, row.name, f"name {weight}", "end"))
        parts.append(line(across(one.low), y, across(one.high), y, f"range {weight}"))
        parts += [line(across(end), y - 5, across(end), y + 5, f"range {weight}") for end in (one.low, one.high)]
        parts.append(element("circle", cx=across(one.value), cy=y, r=5 if row.strong else 4, class_=f"point {weight}"))
        span = f"{signed(one.value, places)}  [{signed(one.low, places)}, {signed(one.high, places)}]"
        parts.append(text(WIDTH - RIGHT + 14, y + 4, span, f"figure {weight}"))
    says = "; ".join(
        f"{row.name} {number(one.value)}, 95% interval {number(one.low)} to {number(one.high)}"
        for row, one in zip(rows, drawn, strict=True)
    )
    return chart(title, f"{says}.", WIDTH, floor + 44, parts)


def dumbbell_plot(title: str, rows: Sequence[DumbbellRow], *, x: str) -> Markup:
    """Return two dots a row on an axis from 0 to 100: hollow for the base, full for the adapter.

    Args:
        title: what is compared.
        rows: from top to bottom; shares in [0, 1].
        x: label of the axis.
    """
    pitch, left = 24, 190
    across = Scale(0, 100, left, WIDTH - RIGHT)
    floor = 34 + pitch * len(rows)
    parts = [horizontal_axis(across, ticks(0, 100, 5), floor, x, 26)]
    parts.append(element("circle", cx=left + 6, cy=10, r=5, class_="hollow"))
    parts.append(text(left + 16, 14, "base", "tick"))
    parts.append(element("circle", cx=left + 62, cy=10, r=3.4, class_="point strong"))
    parts.append(text(left + 72, 14, "adapter", "tick"))
    for place, row in enumerate(rows):
        y = 42 + place * pitch
        before, after = across(100 * row.base), across(100 * row.adapter)
        parts.append(text(left - 14, y + 4, f"{row.name} ({row.count})", "name", "end"))
        parts.append(line(before, y, after, y, "range down" if row.adapter < row.base else "range plain"))
        parts.append(element("circle", cx=before, cy=y, r=5, class_="hollow"))
        parts.append(element("circle", cx=after, cy=y, r=3.4, class_="point strong"))
        figures = f"{100 * row.base:.0f} \N{RIGHTWARDS ARROW} {100 * row.adapter:.0f}"
        parts.append(text(WIDTH - RIGHT + 14, y + 4, figures, "figure"))
    says = "; ".join(f"{r.name}: base {100 * r.base:.0f}, adapter {100 * r.adapter:.0f} of 100" for r in rows)
    return chart(title, f"{says}.", WIDTH, floor + 44, parts)

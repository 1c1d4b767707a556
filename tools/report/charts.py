"""Charts over a common frame: lines over steps, a histogram, and bars that shrink from stage to stage."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from state.records import Record
from tools.report.scales import Scale, finite, number, thinned, ticks
from tools.report.svg import NARROW, WIDTH, chart, element, horizontal_axis, joined, line, rect, text, vertical_axis

MOST_POINTS = 300
"""Points of a line; of a longer series the means of as many equal stretches are drawn."""
MOST_DOTS = 30
"""A line of at most so many points has a dot at each."""
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 30, 44
"""Margins of a chart with axes, in its units."""
NAMES = 70
"""Room for names at the ends of lines."""
LINE_HEIGHT = 220


class Line(Record):
    """One series over a common horizontal axis."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(x, y) in the order of x; what is not finite is left out."""


class Mark(Record):
    """A value that a chart is read against, such as a threshold."""

    name: str
    value: float


class Bar(Record):
    """One bar, with the text after it."""

    name: str
    value: float
    note: str = ""


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x: str,
    y: str,
    marks: Sequence[Mark] = (),
    from_zero: bool = False,
    width: int = WIDTH // 2,
) -> Markup:
    """Return lines over steps or rounds, each named at its end where there are several.

    Args:
        title: what it shows.
        lines: the series; their x are whole numbers.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        marks: values of y to draw a broken line at.
        from_zero: whether the vertical axis begins at 0.
        width: of the drawing.
    """
    drawn = [(one.name, [(a, b) for a, b in one.points if len(finite((a, b))) == 2]) for one in lines]
    drawn = [(name, thinned(points, MOST_POINTS)) for name, points in drawn if points]
    if not drawn:
        return chart(title, "There is nothing to draw.", width, 40, [text(0, 24, f"{title}: no figures", "label")])
    floor, right = LINE_HEIGHT - BOTTOM, width - RIGHT - (NAMES if len(drawn) > 1 else 0)
    values = [b for _, points in drawn for _, b in points] + [mark.value for mark in marks] + [0.0] * from_zero
    rows = ticks(min(values), max(values), 4)
    up = Scale(rows[0], rows[-1], floor, TOP)
    places = [a for _, points in drawn for a, _ in points]
    columns = ticks(min(places), max(places), 5, whole=True)
    across = Scale(*(_ends(places) if len(set(places)) > 1 else _ends(columns)), LEFT, right)
    shown = [column for column in columns if across.low <= column <= across.high]
    parts = [vertical_axis(up, rows, LEFT, right, y), horizontal_axis(across, shown, floor, x, floor)]
    parts += [_threshold(mark, up(mark.value), right) for mark in marks]
    for place, (name, points) in enumerate(drawn):
        parts.append(_series(points, across, up, f"s{place % 4}"))
        if len(drawn) > 1:
            parts.append(text(right + 8, up(points[-1][1]) + 4, name, f"name s{place % 4}"))
    return chart(title, _lines_in_words(drawn, y), width, LINE_HEIGHT, parts)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _threshold(mark: Mark, y: float, right: float) -> Markup:
    return line(LEFT, y, right, y, "mark") + text(right, y - 5, mark.name, "tick", "end")


def _series(points: Sequence[tuple[float, float]], across: Scale, up: Scale, colour: str) -> Markup:
    path = " ".join(f"{across(a)},{up(b)}" for a, b in points)
    dots = points if len(points) <= MOST_DOTS else ()
    circles = [element("circle", cx=across(a), cy=up(b), r=2.6, class_=f"dot {colour}") for a, b in dots]
    return element("polyline", points=path, class_=f"line {colour}") + joined(circles)


def _lines_in_words(drawn: Sequence[tuple[str, Sequence[tuple[float, float]]]], y: str) -> str:
    parts = [f"{name}: {y} from {number(points[0][1])} to {number(points[-1][1])}" for name, points in drawn]
    return "; ".join(parts) + "."


def histogram(
    title: str,
    counts: Sequence[int],
    *,
    low: float,
    high: float,
    x: str,
    marks: Sequence[Mark] = (),
    width: int = WIDTH // 2,
    height: int = 200,
) -> Markup:
    """Return the counts of equal bins between ``low`` and ``high``.

    Args:
        title: what it shows.
        counts: one for each bin, left to right.
        low: where the first bin begins.
        high: where the last bin ends; above ``low``.
        x: label of the horizontal axis, with its unit.
        marks: values of x to draw a broken line at.
        width: of the drawing.
        height: of the drawing.
    """
    rows = ticks(0, max([*counts, 1]), 3)
    across = Scale(low, high, LEFT, width - RIGHT)
    up = Scale(0, rows[-1], height - BOTTOM, TOP)
    columns = [mark for mark in ticks(low, high, 5) if low <= mark <= high]
    floor = height - BOTTOM
    parts = [vertical_axis(up, rows, LEFT, across.end, "count"), horizontal_axis(across, columns, floor, x, floor)]
    step = (high - low) / max(1, len(counts))
    for place, count in enumerate(counts):
        begin, end = low + place * step, low + (place + 1) * step
        wide, tip = across(end) - across(begin) - 1, f"{number(begin)} to {number(end)}: {count:,}"
        if count:
            parts.append(rect(across(begin) + 0.5, up(count), wide, floor - up(count), "bar", tip))
    for place, mark in enumerate(marks):
        parts.append(line(across(mark.value), TOP - 4, across(mark.value), floor, "mark"))
        side = ("end", -5) if place == 0 and len(marks) > 1 else ("start", 5)
        parts.append(text(across(mark.value) + side[1], TOP + 2, mark.name, "tick", side[0]))
    total = sum(counts)
    return chart(title, f"{total:,} values between {number(low)} and {number(high)}.", width, height, parts)


def bars(title: str, rows: Sequence[Bar], *, unit: str, of_first: bool = False, narrow: bool = False) -> Markup:
    """Return horizontal bars on one scale, each with its name before it and its figure after it.

    Args:
        title: what they show.
        rows: from top to bottom; none is below 0.
        unit: what is counted, for screen readers.
        of_first: whether each bar is a part of the first, as in a funnel, so that its share of it is shown.
        narrow: whether it is for a phone: names and figures then stand above the bars.
    """
    width, pitch, left, right = (NARROW, 44, 14, 14) if narrow else (WIDTH, 30, 210, 150)
    most = max([row.value for row in rows], default=0) or 1
    across = Scale(0, most, left, width - right)
    parts = []
    for place, row in enumerate(rows):
        y = (22 if narrow else 6) + place * pitch
        name_at, figure_at = (
            ((left, y - 5, "start"), (width - right, y - 5, "end"))
            if narrow
            else ((left - 12, y + 15, "end"), (width - right + 10, y + 15, "start"))
        )
        parts.append(text(name_at[0], name_at[1], row.name, "name", name_at[2]))
        parts.append(rect(left, y, width - right - left, 20, "rail"))
        parts.append(rect(left, y, across(row.value) - left, 20, "bar", f"{row.name}: {number(row.value)} {unit}"))
        share = f" \N{MIDDLE DOT} {row.value / rows[0].value:.0%}" if of_first and place and rows[0].value else ""
        parts.append(text(figure_at[0], figure_at[1], row.note or f"{row.value:,.0f}{share}", "figure", figure_at[2]))
    says = "; ".join(f"{row.name} {row.note or number(row.value)}" for row in rows)
    return chart(title, f"{says} ({unit}).", width, 10 + pitch * max(1, len(rows)), parts)

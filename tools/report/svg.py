"""The parts of a chart: elements whose text is escaped, axes, and the frame that says what is shown.

Colours come from the page's style sheet by class, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from tools.report.scales import Scale, number

WIDTH = 720
"""Of a chart as wide as the page, in its own units; half as much for one of two side by side."""
NARROW = 360
"""Of the same chart on a phone."""


def element(name: str, content: object = "", **attributes: object) -> Markup:
    """Return an element. Attributes and plain text are escaped; ``Markup`` is taken as it is.

    Args:
        name: the tag.
        content: text, or the elements inside.
        **attributes: ``class_`` and ``text_anchor`` become ``class`` and ``text-anchor``; ``None`` is left out.
    """
    given = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None]
    pairs = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in given)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), pairs, escape(content))


def text(x: float, y: float, content: object, class_: str = "", anchor: str = "start") -> Markup:
    """Return a line of text."""
    return element("text", content, x=round(x, 2), y=round(y, 2), class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=round(x1, 2), y1=round(y1, 2), x2=round(x2, 2), y2=round(y2, 2), class_=class_)


def rect(x: float, y: float, width: float, height: float, class_: str, tip: str = "") -> Markup:
    """Return a box; ``tip`` is shown when the pointer is on it."""
    inside = element("title", tip) if tip else ""
    sizes = {"width": round(max(0.0, width), 2), "height": round(max(0.0, height), 2)}
    return element("rect", inside, x=round(x, 2), y=round(y, 2), rx=1.5, class_=class_, **sizes)


def joined(parts: Sequence[Markup]) -> Markup:
    """Return the elements one after the other."""
    return Markup("").join(parts)


def chart(title: str, says: str, width: float, height: float, parts: Sequence[Markup]) -> Markup:
    """Return a whole drawing.

    Args:
        title: what it is, for screen readers.
        says: what it shows, in a sentence, for screen readers.
        width: in the drawing's own units; on the page the drawing is scaled to its place.
        height: in the same units.
        parts: the elements.
    """
    head = element("title", title) + element("desc", says)
    box = f"0 0 {width:g} {height:g}"
    return element("svg", head + joined(parts), role="img", viewBox=box, aria_label=f"{title}. {says}")


def both_widths(draw: Callable[[bool], Markup]) -> Markup:
    """Return a drawing in its wide and in its narrow form; the page shows the one that fits.

    Args:
        draw: returns the drawing, narrow or not.
    """
    wide, narrow = (element("div", draw(form), class_=name) for form, name in ((False, "wide"), (True, "slim")))
    return wide + narrow


def horizontal_axis(scale: Scale, marks: Sequence[float], y: float, label: str, top: float) -> Markup:
    """Return the axis below a chart: faint lines up to ``top``, values, and the label with its unit under them."""
    parts = [line(scale(mark), top, scale(mark), y, "grid") for mark in marks]
    parts += [text(scale(mark), y + 16, number(mark), "tick", "middle") for mark in marks]
    parts.append(line(scale.start, y, scale.end, y, "axis"))
    parts.append(text((scale.start + scale.end) / 2, y + 34, label, "label", "middle"))
    return joined(parts)


def vertical_axis(scale: Scale, marks: Sequence[float], x: float, right: float, label: str) -> Markup:
    """Return the axis left of a chart: faint lines to ``right``, values, and the label above them."""
    parts = [line(x, scale(mark), right, scale(mark), "grid") for mark in marks]
    parts += [text(x - 8, scale(mark) + 4, number(mark), "tick", "end") for mark in marks]
    parts.append(text(x - 44, scale.end - 14, label, "label"))
    return joined(parts)

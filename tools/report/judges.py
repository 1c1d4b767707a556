"""The scorecard of judges as a picture that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from tools.judging.scorecard import Entry
from tools.judging.verified import NAME as BY_CHECKS
from tools.report.comparison_plots import DifferenceRow, interval_plot
from tools.report.svg import element

NAME = 90
"""Characters of a row's name at most."""
STYLE = """
svg { background: #fff; font-family: sans-serif; }
text { fill: #1c2126; font-size: 11px; } .tick, .label, .figure { fill: #5a6570; }
.grid { stroke: #e2e6ea; } .axis, .range { stroke: #5a6570; } .zero { stroke: #1c2126; } .point { fill: #5a6570; }
.strong { font-weight: 650; } .range.strong { stroke: #1d6f5c; stroke-width: 2.5; } .point.strong { fill: #1d6f5c; }
"""


def drawn(entries: Sequence[Entry]) -> str:
    """Return the scorecard as an SVG file: kappa with its 95% interval, a row for each entry, 0 being chance.

    Args:
        entries: at least one. Those that are shown better than all that costs nothing are drawn strong.
    """
    rows = [DifferenceRow(name=_name(entry), difference=entry.kappa, strong=entry.better is True) for entry in entries]
    picture = str(interval_plot("Judges against people", rows, x="kappa, 0 is chance", places=2, above=True))
    alone = picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return alone.replace("<title>", f"{element('style', STYLE)}<title>", 1)


def _name(entry: Entry) -> str:
    kind, *rest = entry.judge.split("/")
    judge = rest[0] if len(rest) > 1 and kind != BY_CHECKS else kind
    of = f" of {entry.labels + entry.unjudged}" if entry.unjudged else ""
    name = f"{judge}, {entry.source}, {entry.mode}, {entry.labels}{of} labels"
    return name if len(name) <= NAME else f"{name[: NAME - 3]}..."

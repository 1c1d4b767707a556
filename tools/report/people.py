"""What people decided, drawn: the judge's dimensions beside it, what scores have meant, and how far people agree."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tools.judging.decisions import AgainstPeople
from tools.people.raters import Agreement, GoldAccuracy
from tools.report.charts import Line, line_chart
from tools.report.comparison_plots import DifferenceRow, interval_plot
from tools.report.svg import both_widths
from tools.statistics.bootstrap import Estimate


def in_order(people: AgainstPeople) -> Markup:
    """Return for each dimension how often what people took scores above what they did not."""
    rows = [_points(one.dimension.replace("_", " "), one.in_order) for one in people.dimensions]
    label = "an answer that people took scores above one they did not, of 100 pairs"
    return both_widths(
        lambda narrow: interval_plot("Dimensions and decisions", rows, x=label, around=50.0, narrow=narrow)
    )


def _points(name: str, share: Estimate) -> DifferenceRow:
    points = Estimate(value=100 * share.value, low=100 * share.low, high=100 * share.high)
    return DifferenceRow(name=name, difference=points)


def chances(people: AgainstPeople) -> Markup:
    """Return how often people took texts of each overall score; there must be a recalibration."""
    assert people.recalibration is not None
    curve = people.recalibration.curve
    points = tuple((score, 100 * chance) for score, chance in zip(curve.scores, curve.chances, strict=True))
    return line_chart(
        "What a score has meant",
        [Line(name="taken by people", points=points)],
        x="overall score",
        y="taken by people, of 100",
        from_zero=True,
    )


def alphas(agreements: Sequence[Agreement]) -> Markup:
    """Return how far people agree with each other, by criterion."""
    rows = [DifferenceRow(name=one.criterion.replace("_", " "), difference=one.alpha) for one in agreements]
    label = "Krippendorff's alpha: 1 is perfect, 0 is chance"
    return both_widths(lambda narrow: interval_plot("People among themselves", rows, x=label, places=2, narrow=narrow))


def gold(accuracies: Sequence[GoldAccuracy]) -> Markup:
    """Return how often each person was right on items whose answer is known."""
    rows = [_points(f"{one.rater} ({one.items})", one.accuracy) for one in accuracies]
    label = "right on gold items, of 100; one half is a coin's"
    return both_widths(lambda narrow: interval_plot("Gold items", rows, x=label, around=50.0, narrow=narrow))

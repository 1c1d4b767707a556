"""The page: every chart drawn, and the template filled. All text is escaped; the page loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from state.wording import number_of
from tools.generation.spans import in_interval
from tools.report.board import Board, MetricGroup
from tools.report.charts import Bar, Line, Mark, bars, histogram, line_chart
from tools.report.comparison_plots import DifferenceRow, DumbbellRow, dumbbell_plot, interval_plot
from tools.report.facts import Costs, RunFacts, missing_parts
from tools.report.people import alphas, chances, gold, in_order
from tools.report.scales import duration, number, signed
from tools.report.scores import Scores, Spread
from tools.report.svg import NARROW, WIDTH, both_widths
from tools.report.training import Curve

_FOLDER = Path(__file__).parent
_THIRD = WIDTH // 3


def render(facts: RunFacts) -> str:
    """Return the report as one HTML page.

    It has no script and loads no other file. Half of a surrogate pair, which UTF-8 cannot hold, becomes ``?``.
    """
    page = (
        environment()
        .get_template("report.html.j2")
        .render(facts=facts, missing=missing_parts(facts), charts=_charts(facts), sections=_sections(facts))
    )
    return page.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return what fills the templates of this folder: all text is escaped, and a missing name is an error."""
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "signed": signed,
        "headed": lambda title: title[:1].upper() + title[1:],
        "duration": duration,
        "interval": in_interval,
        "counted": number_of,
        "when": lambda moment: f"{moment:%Y-%m-%d %H:%M} UTC",
    }
    return made


def _sections(facts: RunFacts) -> dict[str, str]:
    """Return the sections that the page has: anchor and title, in order."""
    there = {
        "scoreboard": ("Scoreboard", facts.board),
        "training": ("Training", facts.trainings),
        "scores": ("Score distributions", facts.scores),
        "people": ("Judge against people", facts.people or facts.agreements or facts.gold),
        "funnel": ("Gate funnel", facts.funnels),
        "diversity": ("Diversity", facts.rounds or facts.diversity),
        "checklists": ("Checklists", facts.checklists),
        "cost": ("Cost and time", facts.costs),
        "examples": ("Before and after", facts.examples),
        "lineage": ("Lineage", facts.lineage),
        "request": ("The request", facts.request),
    }
    return {anchor: title for anchor, (title, part) in there.items() if part}


def _charts(facts: RunFacts) -> dict[str, Any]:
    return {
        "perplexity": _perplexity(facts) if facts.board and facts.board.perplexity else None,
        "win_rate": _win_rate(facts.board) if facts.board and facts.board.win_rates else None,
        "intervals": [_intervals(group) for group in facts.board.groups] if facts.board else [],
        "slices": _slices(facts.board) if facts.board else [],
        "curves": [
            [[_curve(curve) for curve in phase.curves] for phase in training.phases] for training in facts.trainings
        ],
        "scores": _scores(facts.scores, facts) if facts.scores else None,
        "in_order": in_order(facts.people) if facts.people and facts.people.dimensions else None,
        "chances": chances(facts.people) if facts.people and facts.people.recalibration else None,
        "alphas": alphas(facts.agreements) if facts.agreements else None,
        "gold": gold(facts.gold) if facts.gold else None,
        "funnels": [_bars(one.title, one.stages, one.unit, of_first=True) for one in facts.funnels],
        "growth": _growth(facts) if facts.rounds else [],
        "time": _times(facts.costs) if facts.costs and facts.costs.steps else None,
        "tokens": _tokens(facts.costs) if facts.costs and facts.costs.calls else None,
    }


def _intervals(group: MetricGroup) -> list[Markup]:
    """Return one plot for the metrics that are shares, and one for each of the others, which have their own scale."""
    shares = [metric.row for metric in group.metrics if metric.share]
    plots = []
    if shares:
        label = "adapter less base, in points of 100, with the 95% interval"
        plots.append(_plot(f"Differences: {group.title or 'all metrics'}", shares, label))
    for metric in group.metrics:
        if not metric.share:
            label = f"adapter less base, {metric.name}"
            plots.append(_plot(f"Difference in {metric.name}", [metric.row], label))
    return plots


def _plot(title: str, rows: Sequence[DifferenceRow], x: str) -> Markup:
    return both_widths(lambda narrow: interval_plot(title, rows, x=x, narrow=narrow))


def _perplexity(facts: RunFacts) -> Markup:
    assert facts.board is not None and facts.board.perplexity is not None
    rows = [DifferenceRow(name="perplexity", difference=facts.board.perplexity, strong=True)]
    most = facts.request.evaluate.max_perplexity
    limits = [(f"at most {most:g}", most)]
    label = "adapter over base; 1 is no change, above it is worse"
    title = "Perplexity on texts that no training row has"
    return both_widths(
        lambda narrow: interval_plot(title, rows, x=label, places=3, around=1.0, limits=limits, narrow=narrow)
    )


def _win_rate(board: Board) -> Markup:
    label = "pairs that the adapter won, of 100; a tie counts half"
    title = "Win rate by the judge"
    return both_widths(lambda narrow: interval_plot(title, board.win_rates, x=label, around=50.0, narrow=narrow))


def _bars(title: str, rows: Sequence[Bar], unit: str, *, of_first: bool = False) -> Markup:
    return both_widths(lambda narrow: bars(title, rows, unit=unit, of_first=of_first, narrow=narrow))


def _slices(board: Board) -> list[Markup]:
    return [_dumbbells(f"Share passed {one.title}", one.slices) for one in board.slices]


def _dumbbells(title: str, rows: Sequence[DumbbellRow]) -> Markup:
    return both_widths(lambda narrow: dumbbell_plot(title, rows, x="passed, of 100", narrow=narrow))


def _curve(curve: Curve) -> Markup:
    return line_chart(curve.name.capitalize(), [curve.line], x="optimiser step", y=curve.name, marks=curve.marks)


def _scores(scores: Scores, facts: RunFacts) -> dict[str, Any]:
    judge = facts.request.judge
    marks = [Mark(name=f"person from {judge.review_from:g}", value=judge.review_from)]
    marks.append(Mark(name=f"accepted from {judge.accept:g}", value=judge.accept))
    stars = [Bar(name=f"{place} star{'s' * (place > 1)}", value=count) for place, count in enumerate(scores.stars, 1)]
    return {
        "overall": both_widths(
            lambda narrow: histogram(
                "Overall score",
                scores.overall.counts,
                low=0,
                high=100,
                x="weighted score",
                marks=marks,
                width=NARROW if narrow else WIDTH,
            )
        ),
        "dimensions": [_small(spread, 100, "score") for spread in scores.drawn],
        "confidence": _small(scores.confidence, 1, "confidence"),
        "stars": _bars("The expert's stars", stars, "judgements"),
    }


def _small(spread: Spread, high: float, x: str) -> Markup:
    return histogram(spread.name.replace("_", " "), spread.counts, low=0, high=high, x=x, width=_THIRD, height=170)


def _growth(facts: RunFacts) -> list[Markup]:
    kept = accumulate(round_.accepted for round_ in facts.rounds)
    grown = tuple((float(r.round), float(total)) for r, total in zip(facts.rounds, kept, strict=True))
    novel = tuple((float(r.round), 100 * r.novelty) for r in facts.rounds)
    target, least = facts.request.generation.target, facts.request.gates.min_diversity
    target_mark = [Mark(name=f"target {target}", value=target)] if target else []
    return [
        line_chart(
            "Instructions accepted so far",
            [Line(name="accepted", points=grown)],
            x="round",
            y="accepted instructions",
            marks=target_mark,
            from_zero=True,
        ),
        line_chart(
            "Novelty of each round",
            [Line(name="novelty", points=novel)],
            x="round",
            y="novel, of 100 offered",
            marks=[Mark(name=f"too alike under {100 * least:g}", value=100 * least)],
            from_zero=True,
        ),
    ]


def _times(costs: Costs) -> Markup:
    rows = [Bar(name=step.step, value=step.seconds, note=duration(step.seconds)) for step in costs.steps]
    return _bars("Time by step", rows, "seconds of the clock")


def _tokens(costs: Costs) -> Markup:
    tallies = [group.tally for group in costs.calls]
    rows = [Bar(name=one.purpose, value=one.prompt_tokens + one.completion_tokens) for one in tallies]
    return _bars("Tokens by purpose", rows, "tokens in and out")

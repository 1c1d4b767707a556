"""Two runs side by side: what they were asked, what came of it, and whether one adapter is better than the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from markupsafe import Markup

from state.records import Record
from tools.report.comparison_plots import DifferenceRow, interval_plot
from tools.report.facts import RunFacts
from tools.report.page import environment
from tools.report.scales import duration, number, signed
from tools.report.svg import both_widths
from tools.statistics.bootstrap import Estimate


class SharedPrompts(Record):
    """Both adapters on the held-out prompts that both runs have."""

    metric: str
    prompts: int
    first: float
    """Mean of the first run's adapter."""
    second: float
    difference: Estimate
    """Second less first, paired by prompt."""
    p: float
    """Of the exact McNemar test."""

    @property
    def in_words(self) -> str:
        """What it says of the two."""
        one = self.difference
        better = "the second" if one.value > 0 else "the first"
        shown = self.p < 0.05 and (one.low > 0 or one.high < 0)
        says = f"{better} is better" if shown else "neither is shown to be better"
        span = f"{signed(100 * one.value)} points [{signed(100 * one.low)}, {signed(100 * one.high)}]"
        return f"{self.metric} on {self.prompts:,} shared held-out prompts: second less first {span}; {says}"


class Row(Record):
    """One figure of both runs, as it is written; ``-`` where a run has none."""

    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.first != self.second


class Part(Record):
    """Figures that stand together."""

    title: str
    rows: tuple[Row, ...]


def parts_of(first: RunFacts, second: RunFacts) -> list[Part]:
    """Return what is compared, part by part; those without a row are left out."""
    settings = _joined(*({one.name: one.value for one in run.settings} for run in (first, second)))
    parts = [
        Part(title="Outcome", rows=_joined(_outcome(first), _outcome(second))),
        Part(title="Settings that differ", rows=tuple(row for row in settings if row.differs)),
        Part(title="Rows", rows=_joined(_stages(first), _stages(second))),
        Part(title="Scores of the judge", rows=_joined(_scores(first), _scores(second))),
        Part(title="Cost", rows=_joined(_costs(first), _costs(second))),
        Part(title="Time by step", rows=_joined(_times(first), _times(second))),
    ]
    return [part for part in parts if part.rows]


def _joined(first: dict[str, str], second: dict[str, str]) -> tuple[Row, ...]:
    names = dict.fromkeys([*first, *second])
    return tuple(Row(name=name, first=first.get(name, "-"), second=second.get(name, "-")) for name in names)


def _outcome(run: RunFacts) -> dict[str, str]:
    found = {"began": run.created_at.replace("T", " ")[:16], "standing": run.standing}
    if run.board:
        found |= {"verdict": run.board.verdict, "held-out prompts": f"{run.board.prompts:,}"}
        if (one := run.board.perplexity) is not None:
            found["perplexity, adapter over base"] = f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
        for rate in run.board.win_rates:
            one = rate.difference
            found[f"{rate.name}, of 100"] = f"{one.value:.0f} [{one.low:.0f}, {one.high:.0f}]"
    return found


def _stages(run: RunFacts) -> dict[str, str]:
    return {f"{one.title}: {stage.name}": f"{stage.value:,.0f}" for one in run.funnels for stage in one.stages}


def _scores(run: RunFacts) -> dict[str, str]:
    if run.scores is None:
        return {}
    means = {f"mean {one.name.replace('_', ' ')}": number(one.mean) for one in run.scores.drawn}
    judged = {"judged": f"{run.scores.judged:,}", "mean overall": number(run.scores.overall.mean)}
    return {"judge": ", ".join(name for name, _ in run.scores.judges), **judged, **means}


def _costs(run: RunFacts) -> dict[str, str]:
    if run.costs is None:
        return {}
    tallies = [group.tally for group in run.costs.calls]
    return {
        "dollars": f"{run.costs.spent:.4f}",
        "calls": f"{sum(one.answered + one.failed for one in tallies):,}",
        "tokens": f"{sum(one.prompt_tokens + one.completion_tokens for one in tallies):,}",
    }


def _times(run: RunFacts) -> dict[str, str]:
    return {step.step: duration(step.seconds) for step in run.costs.steps} if run.costs else {}


def metric_plots(first: RunFacts, second: RunFacts) -> list[Markup]:
    """Return for each metric that both scoreboards have what each adapter gained over its own base."""
    boards = [run.board for run in (first, second)]
    if boards[0] is None or boards[1] is None:
        return []
    found = [{m.name: m for group in board.groups[:1] for m in group.metrics} for board in boards if board]
    return [
        _plot(
            name, [_row("first", found[0][name].shown, one.decides), _row("second", one.shown, one.decides)], one.share
        )
        for name, one in found[1].items()
        if name in found[0]
    ]


def _row(name: str, difference: Estimate, strong: bool) -> DifferenceRow:
    return DifferenceRow(name=name, difference=difference, strong=strong)


def _plot(metric: str, rows: Sequence[DifferenceRow], share: bool) -> Markup:
    label = "adapter less its base" + (", in points of 100" if share else "")
    return both_widths(lambda narrow: interval_plot(metric, rows, x=label, narrow=narrow))


def render_comparison(first: RunFacts, second: RunFacts, shared: Iterable[SharedPrompts], written_at: datetime) -> str:
    """Return the page that compares two runs; like a report it has no script and loads no other file."""
    template = environment().get_template("comparison.html.j2")
    page = template.render(
        first=first,
        second=second,
        shared=list(shared),
        parts=parts_of(first, second),
        plots=metric_plots(first, second),
        written_at=written_at,
    )
    return page.encode("utf-8", "replace").decode("utf-8")

"""What a run is expected to cost, stage by stage, beside what it did cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from state.calls import PurposeTally
from state.records import Record
from tools.generation.spans import Span, total


class StageCost(Record):
    """One stage's calls, with their tokens and dollars."""

    stage: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float


class StageEstimate(Record):
    """What one stage is expected to cost."""

    stage: str
    calls: Span
    prompt_tokens: Span
    completion_tokens: Span
    dollars: Span

    @property
    def tokens(self) -> Span:
        """Of prompts and completions together."""
        return self.prompt_tokens + self.completion_tokens


class CostEstimate(Record):
    """What the whole run is expected to cost."""

    stages: tuple[StageEstimate, ...]
    """``generate``, ``gate``, ``respond``, ``judge`` and ``evaluate``."""
    total: StageEstimate
    prices: tuple[str, ...] = ()
    """A line for each model that may cost money: what its tokens cost, and who says so."""
    shows: str = ""
    """What the held-out prompts can show, in a sentence."""
    unlicensed: str = ""
    """Why the run will not train on its judge, as far as that was measured when it began; empty where it will."""
    learned: int = Field(0, ge=0)
    """Earlier calls of this home that the tokens of a call were learned from; 0 where nothing is known yet."""


class StageComparison(Record):
    """A stage's estimated and actual cost."""

    stage: str
    estimated: StageEstimate
    actual: StageCost

    @property
    def ratio(self) -> float | None:
        """Actual over expected dollars; ``None`` where nothing was expected."""
        expected = self.estimated.dollars.expected
        return self.actual.dollars / expected if expected else None


def compare(estimated: CostEstimate, actual: Iterable[PurposeTally]) -> list[StageComparison]:
    """Return a row for each stage, and a last one for the total.

    Args:
        estimated: the estimate from before the run.
        actual: the ledger's sums over the calls that this run paid for; ``judge.accuracy`` counts as ``judge``.
    """
    spent: dict[str, list[StageCost]] = {}
    for tally in actual:
        spent.setdefault(tally.purpose.partition(".")[0], []).append(_paid(tally))
    expected = {row.stage: row for row in estimated.stages}
    names = [*expected, *sorted(set(spent) - set(expected))]
    rows = [
        StageComparison(
            stage=name,
            estimated=expected.get(name, sum_estimates(name, ())),
            actual=_sum_costs(name, spent.get(name, ())),
        )
        for name in names
    ]
    whole = _sum_costs("total", [row.actual for row in rows])
    return [*rows, StageComparison(stage="total", estimated=estimated.total, actual=whole)]


def sum_estimates(name: str, rows: Sequence[StageEstimate]) -> StageEstimate:
    """Return the sum of estimates under a name."""
    return StageEstimate(
        stage=name,
        calls=total([row.calls for row in rows]),
        prompt_tokens=total([row.prompt_tokens for row in rows]),
        completion_tokens=total([row.completion_tokens for row in rows]),
        dollars=total([row.dollars for row in rows]),
    )


def stage_estimate(
    name: str, calls: Span, prompt: Span, completion: Span, prices: tuple[float, float]
) -> StageEstimate:
    """Return what calls cost, rounded outwards.

    Args:
        name: the stage.
        calls: how many.
        prompt: tokens of one prompt.
        completion: tokens of one completion.
        prices: dollars for a million tokens of the one and the other.
    """
    prompt, completion = (calls * prompt).whole(), (calls * completion).whole()
    dollars = (prompt * prices[0] + completion * prices[1]) * 1e-6
    return StageEstimate(
        stage=name, calls=calls.whole(), prompt_tokens=prompt, completion_tokens=completion, dollars=dollars
    )


def _paid(tally: PurposeTally) -> StageCost:
    return StageCost(
        stage=tally.purpose,
        calls=tally.answered + tally.failed - tally.from_ledger,
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tally.completion_tokens,
        dollars=tally.cost,
    )


def _sum_costs(name: str, rows: Sequence[StageCost]) -> StageCost:
    return StageCost(
        stage=name,
        calls=sum(row.calls for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        dollars=sum(row.dollars for row in rows),
    )

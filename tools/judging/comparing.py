"""``corral compare``: two files of answers to the same prompts, judged against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, assert_never

from state.errors import BadInput
from state.records import Record
from state.wording import number_of
from tools.judging.batch import Judge
from tools.judging.pairwise import JudgedPair, judge_pairs
from tools.sources.items import Item
from tools.statistics.bootstrap import RESAMPLES, Estimate, paired_bootstrap
from tools.statistics.clustered import share_interval
from tools.statistics.significance import mcnemar

LEVEL = 0.05
"""Two-sided error of the exact test that names a winner: six pairs, all won by one side, are the fewest."""


class ABComparison(Record):
    """A against B. Wins, ties, failures and what nothing can judge add up to the pairs."""

    judge: str
    pairs: int
    unmatched: int
    """Rows whose prompt the other file does not have; they count in no figure."""
    wins_a: int
    """Pairs where A was chosen in both orders."""
    wins_b: int
    ties: int
    """Ties, and choices that changed with the order."""
    flips: int
    """Ties of the second kind."""
    failed: int
    """Pairs whose judging failed."""
    unjudged: int = 0
    """Pairs of which nothing can judge one answer or both; they are no ties, and count in no figure."""
    overall_a: float | None
    """Mean overall score, 0 to 100, over the pairs of which both answers were scored; ``None`` where none was."""
    overall_b: float | None
    difference: Estimate | None
    """Mean overall score of B less that of A, over the same pairs."""
    win_rate: Estimate
    """Share of judged pairs that B won, a tie counting half; with Wilson's score interval."""
    winner: Literal["a", "b", "none"]
    """Whose win rate's interval leaves out one half, if the exact test on the pairs that were won agrees."""
    summary: str
    """One line for a person."""


async def compare(judge: Judge, a: Sequence[Item], b: Sequence[Item], *, seed: int = 0) -> ABComparison:
    """Judge two sets of answers against each other.

    Args:
        judge: who judges.
        a: answers; several to one prompt are taken in their order.
        b: answers to the same prompts, in any order.
        seed: of the bootstrap.

    Raises:
        BadInput: no prompt is in both, or no pair could be judged.
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as for ``CrewJudge.judge``.
    """
    pairs = matched(a, b)
    return comparison(
        judge.identity, await judge_pairs(judge, pairs), unmatched=len(a) + len(b) - 2 * len(pairs), seed=seed
    )


def matched(a: Sequence[Item], b: Sequence[Item]) -> list[tuple[Item, Item]]:
    """Return answers to the same prompt side by side, in A's order.

    Raises:
        BadInput: no prompt is in both.
    """
    waiting: defaultdict[str, list[Item]] = defaultdict(list)
    for item in b:
        waiting[item.prompt].append(item)
    pairs = [(item, waiting[item.prompt].pop(0)) for item in a if waiting[item.prompt]]
    if not pairs:
        raise BadInput(
            f"no prompt is in both files (rows: {len(a)} and {len(b)}); they are matched by their whole text"
        )
    return pairs


def comparison(judge: str, judged: Sequence[JudgedPair], *, unmatched: int = 0, seed: int = 0) -> ABComparison:
    """Put judged pairs together: A's answer is the first of each.

    Raises:
        BadInput: none of them could be judged.
    """
    good = [pair for pair in judged if not pair.error]
    if not good:
        raise BadInput(f"no pair of {len(judged)} could be judged; the first: {judged[0].error}")
    failed = len(judged) - len(good)
    good = [pair for pair in good if not pair.asked.unjudged]
    unjudged = len(judged) - failed - len(good)
    if not good:
        raise BadInput(
            f"no pair of {unjudged} can be judged: no check applies and there is no reference; name a model that "
            "judges (models.judge), or give the rows checks"
        )
    points = [pair.asked.points for pair in good]
    both = [(pair.first.overall, pair.second.overall) for pair in good]
    scored = [(one, other) for one, other in both if one is not None and other is not None]
    scores_a, scores_b = [one for one, _ in scored], [other for _, other in scored]
    rate = share_interval(points, range(len(points)))
    difference = paired_bootstrap(scores_a, scores_b, RESAMPLES, seed) if scored else None
    certain = mcnemar([point == 0.0 for point in points], [point == 1.0 for point in points]) < LEVEL
    winner: Literal["a", "b", "none"] = "none"
    if certain:
        winner = "b" if rate.low > 0.5 else "a" if rate.high < 0.5 else "none"
    return ABComparison(
        judge=judge,
        pairs=len(judged),
        unmatched=unmatched,
        wins_a=points.count(0.0),
        wins_b=points.count(1.0),
        ties=points.count(0.5),
        flips=sum(pair.asked.flipped for pair in good),
        failed=failed,
        unjudged=unjudged,
        overall_a=round(fmean(scores_a), 2) if scored else None,
        overall_b=round(fmean(scores_b), 2) if scored else None,
        difference=difference,
        win_rate=rate,
        winner=winner,
        summary=_in_words(winner, rate, difference, len(good)),
    )


def _in_words(winner: Literal["a", "b", "none"], rate: Estimate, difference: Estimate | None, pairs: int) -> str:
    scored = "no pair was scored" if difference is None else f"{difference.value:+.1f} points of 100 on average"
    won = f"B wins {rate.value:.0%} of {number_of(pairs, 'pair')}"
    figures = f"{won} (95% interval {rate.low:.0%} to {rate.high:.0%}), {scored}"
    match winner:
        case "none":
            return f"no difference shown: {figures}"
        case "a" | "b":
            return f"{winner.upper()} is better: {figures}"
        case other:
            assert_never(other)

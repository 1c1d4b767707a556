"""The win rate: how often the judge prefers the adapter's greedy answer, in both orders, and at equal length."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from state.errors import BudgetExceeded, EndpointError
from state.records import Answer, Candidate, Record, Sample, content_hash
from state.wording import number_of
from tools.checks.text import words
from tools.judging.batch import Judge
from tools.judging.preference import Preference
from tools.statistics.bootstrap import Estimate
from tools.statistics.clustered import share_interval
from tools.statistics.length import length_controlled_rate


class WinRate(Record):
    """Adapter against base by the run's judge. Wins, losses, ties, unjudged pairs and failures add up to the pairs."""

    judge: str
    pairs: int
    wins: int = 0
    """Pairs in which the adapter's answer was preferred in both orders."""
    losses: int = 0
    ties: int = 0
    """Equal answers, ties, and choices that changed with the order."""
    flips: int = 0
    """Ties of the last kind."""
    unjudged: int = 0
    """Pairs that nothing can judge: no check applies, and there is no reference. They are no ties."""
    failed: int = 0
    """Pairs of which the judging failed."""
    rate: Estimate | None = None
    """Share of judged pairs that the adapter won, a tie counting half; one half is no preference."""
    controlled: Estimate | None = None
    """The same among pairs whose lengths balance; ``None`` where preference cannot be told from length, see
    ``length_controlled_rate``."""
    missing: str = ""
    """Why there is no rate; empty where there is one."""


def pairs_to_judge(
    samples: Sequence[Sample], base: Sequence[Answer], adapter: Sequence[Answer], limit: int
) -> list[tuple[Sample, Answer, Answer]]:
    """Return at most ``limit`` prompts with both greedy answers, chosen by a hash of the prompt."""
    ours, theirs = ({answer.sample_id: answer for answer in side if answer.draw == 0} for side in (base, adapter))
    both = [sample for sample in samples if sample.id in ours and sample.id in theirs]
    chosen = sorted(both, key=lambda sample: content_hash("judged pair", sample.id))[:limit]
    return [(sample, ours[sample.id], theirs[sample.id]) for sample in chosen]


async def measure_win_rate(
    judge: Judge, pairs: Sequence[tuple[Sample, Answer, Answer]], on_pair: Callable[[], None]
) -> WinRate:
    """Let the judge compare base and adapter, each pair in both orders.

    A used-up budget or a failing endpoint does not end the evaluation: the rate is missing, with the reason. What was
    paid for is in the ledger.

    Args:
        judge: the run's judge.
        pairs: prompt, base's answer and adapter's answer.
        on_pair: called as each pair is done.
    """

    async def one(sample: Sample, base: Answer, adapter: Answer) -> Preference:
        same = base.text == adapter.text
        found = Preference() if same else await judge.prefer(sample, _candidate(base), _candidate(adapter))
        on_pair()
        return found

    results = await asyncio.gather(*(one(*pair) for pair in pairs), return_exceptions=True)
    for result in results:
        if isinstance(result, BudgetExceeded | EndpointError):
            return WinRate(judge=judge.identity, pairs=len(pairs), failed=len(pairs), missing=str(result))
        if isinstance(result, BaseException):
            raise result
    preferences = [result for result in results if isinstance(result, Preference)]
    return win_rate(judge.identity, preferences, [(base.text, adapter.text) for _, base, adapter in pairs])


def win_rate(judge: str, preferences: Sequence[Preference], texts: Sequence[tuple[str, str]]) -> WinRate:
    """Compute the win rate from the judge's preferences.

    Args:
        judge: its identity.
        preferences: one for each pair; the base's answer is the first of a pair.
        texts: both answers of each pair.
    """
    failed, unjudged = sum(bool(p.error) for p in preferences), sum(p.unjudged for p in preferences)
    good = [pair for pair in zip(preferences, texts, strict=True) if not pair[0].error and not pair[0].unjudged]
    if not good:
        why = next((p.error for p in preferences if p.error), "nothing can judge any of its pairs")
        why = why if preferences else "there was no pair to judge"
        return WinRate(judge=judge, pairs=len(preferences), failed=failed, unjudged=unjudged, missing=why)
    points = [found.points for found, _ in good]
    longer = [float(len(words(adapter)) - len(words(base))) for _, (base, adapter) in good]
    return WinRate(
        judge=judge,
        pairs=len(preferences),
        wins=points.count(1.0),
        losses=points.count(0.0),
        ties=points.count(0.5),
        flips=sum(found.flipped for found, _ in good),
        unjudged=unjudged,
        failed=failed,
        rate=share_interval(points, range(len(points))),
        controlled=length_controlled_rate(points, longer),
    )


def in_words(found: WinRate) -> str:
    """Return the win rate as a sentence."""
    if found.rate is None:
        return f"The judge's win rate is missing: {found.missing}"
    judged, rate = found.pairs - found.failed - found.unjudged, found.rate
    return (
        f"The judge prefers the adapter in {rate.value:.0%} of {number_of(judged, 'pair')} (95% interval "
        f"{rate.low:.0%} to {rate.high:.0%}), {_at_equal_length(found.controlled)}; half is no preference. "
        f"{number_of(found.flips, 'choice')} changed with the order. Judged by {found.judge}."
    )


def _at_equal_length(fair: Estimate | None) -> str:
    if fair is None:
        return "which cannot be separated from a preference for length: one side's answers are nearly always longer"
    return f"at equal length {fair.value:.0%} ({fair.low:.0%} to {fair.high:.0%})"


def _candidate(answer: Answer) -> Candidate:
    return Candidate(
        id=content_hash("evaluated", answer.sample_id, answer.text),
        sample_id=answer.sample_id,
        draw=0,
        text=answer.text,
        ended=answer.ended,
    )

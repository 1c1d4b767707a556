"""The scoreboard: what base and adapter scored on the same held-out prompts, and whether the difference is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

from state.errors import BadInput
from state.pipeline import Verdict
from state.records import Answer, Record, Sample
from state.request import Evaluation
from state.wording import number_of
from tools.evaluation.comparing import Comparison, Marks, Slice, by_category, by_kind, compare_all, marks_of
from tools.evaluation.ifeval import PublicAccuracies
from tools.evaluation.perplexity import Perplexity, perplexity_of
from tools.evaluation.scoring import METRICS, NATS, Scored, score_answer
from tools.evaluation.winning import WinRate
from tools.statistics.power import LEVEL

_NEEDS = "'checks' needs prompts with checks, 'rougeL' prompts with a reference"
Claim = Literal["better", "not shown", "worse"]
"""What a scoreboard can say of the adapter."""


class Side(Record):
    """What one model answered."""

    model: str
    answered: int
    """Prompts with a greedy answer."""
    missing: int
    """Prompts without one; each counts as a failure in every metric."""
    sampled: int = 0
    """Sampled answers; missing ones count as failures, too."""


class Scoreboard(Record):
    """Base against adapter on held-out prompts, as ``scoreboard.json`` keeps it."""

    prompts: int
    base: Side
    adapter: Side
    comparisons: tuple[Comparison, ...]
    by_kind: tuple[Slice, ...]
    by_category: tuple[Slice, ...]
    primary: str
    """The metric that was fixed before training."""
    verdict: Claim
    words: str
    """The verdict as a sentence."""
    seed: int
    resamples: int
    sampled_draws: int = 0
    """Sampled answers wanted for each prompt."""
    length_ratio: float | None = None
    """Mean words of the adapter's greedy answers over the base's; ``None`` where the base wrote none."""
    perplexity: Perplexity | None = None
    win_rate: WinRate | None = None
    """By the run's judge; ``None`` where it was not asked."""
    ifeval: PublicAccuracies | None = None
    """On a fixed sample of its prompts; ``None`` where ``evaluate.ifeval`` names no file. No part of the verdict."""
    notes: tuple[str, ...] = ()
    """What a reader should know of the run, such as how well its judge was measured."""

    def comparison(self, metric: str) -> Comparison:
        """Return one metric's comparison.

        Raises:
            KeyError: no prompt had that metric.
        """
        return {one.metric: one for one in self.comparisons}[metric]

    def record(self, path: str) -> Verdict:
        """Return the summary that the run's state carries; ``path`` is the scoreboard's JSON file."""
        one = self.comparison(self.primary)
        return Verdict(
            verdict=self.verdict,
            metric=self.primary,
            base=one.base,
            adapter=one.adapter,
            difference=one.interval.value,
            low=one.interval.low,
            high=one.interval.high,
            prompts=one.prompts,
            scoreboard=path,
            perplexity_ratio=self.perplexity.ratio if self.perplexity else None,
        )


def score_answers(
    samples: Sequence[Sample],
    base: Sequence[Answer],
    adapter: Sequence[Answer],
    settings: Evaluation,
    seed: int,
    *,
    nats: Sequence[tuple[float, float]] = (),
    win_rate: WinRate | None = None,
    against: str = "its base",
) -> Scoreboard:
    """Score two models' answers to the same held-out prompts.

    The verdict is ``better`` where the primary metric's interval lies above 0 and its test says the same at 5% (on few
    prompts the percentile interval alone claims too much: four prompts gained of sixty, none lost, would be enough),
    ``worse`` in the mirror image, else ``not shown``.

    Args:
        samples: the held-out prompts, all of them. Order does not matter.
        base: the base model's answers, greedy and sampled; a missing one is a failure.
        adapter: the adapter's answers.
        settings: the primary metric and the number of resamples.
        seed: of the bootstrap.
        nats: mean negative log-likelihood of a token under base and adapter, for each held-out text.
        win_rate: by the judge.
        against: what ``base`` is, in words.

    Raises:
        BadInput: no held-out prompts; two answers of one kind, or an answer to no given prompt; or the primary metric
            applies to no prompt.
    """
    if not samples:
        raise BadInput(
            "there are no held-out prompts to evaluate on: mark some with 'split': 'heldout', "
            "or raise evaluate.heldout_share"
        )
    ordered = sorted(samples, key=lambda sample: sample.id)
    draws = max((answer.draw for answer in (*base, *adapter)), default=0)
    greedy_base, marks_base = _scored(ordered, base, draws, settings.stemmer)
    greedy_adapter, marks_adapter = _scored(ordered, adapter, draws, settings.stemmer)
    comparisons = compare_all(marks_base, marks_adapter, nats, settings.primary, settings.resamples, seed)
    by_metric = {one.metric: one for one in comparisons}
    primary = by_metric.get(settings.primary)
    if primary is None:
        raise BadInput(f"evaluate.primary is '{settings.primary}', but no held-out prompt has what it needs: {_NEEDS}")
    verdict, lengths = _verdict(primary), by_metric["words"]
    return Scoreboard(
        prompts=len(ordered),
        base=_side("base", base, len(ordered)),
        adapter=_side("adapter", adapter, len(ordered)),
        comparisons=comparisons,
        by_kind=by_kind(greedy_base, greedy_adapter, settings.resamples, seed),
        by_category=by_category(ordered, greedy_base, greedy_adapter, settings.resamples, seed),
        primary=settings.primary,
        verdict=verdict,
        words=_in_words(primary, verdict, against),
        seed=seed,
        resamples=settings.resamples,
        sampled_draws=draws,
        length_ratio=lengths.adapter / lengths.base if lengths.base else None,
        perplexity=_perplexity(by_metric.get(NATS)),
        win_rate=win_rate,
    )


def _scored(
    samples: Sequence[Sample], answers: Sequence[Answer], draws: int, stemmer: bool
) -> tuple[list[Scored], list[Marks]]:
    """Return the scores of the greedy answers, and each prompt's metrics over all of its answers."""
    given = _by_prompt(samples, answers)

    def score(sample: Sample, draw: int) -> Scored:
        return score_answer(sample, given.get((sample.id, draw)), stemmer=stemmer)

    greedy = [score(one, 0) for one in samples]
    drawn = [[score(one, draw) for draw in range(1, draws + 1)] for one in samples]
    return greedy, [marks_of(first, others) for first, others in zip(greedy, drawn, strict=True)]


def _by_prompt(samples: Sequence[Sample], answers: Sequence[Answer]) -> dict[tuple[str, int], Answer]:
    """Return answers by prompt and draw."""
    known = {sample.id for sample in samples}
    found: dict[tuple[str, int], Answer] = {}
    for answer in answers:
        if answer.sample_id not in known:
            raise BadInput(
                f"answer {answer.id} of '{answer.model}' is to a prompt that is not evaluated: {answer.sample_id}"
            )
        if (answer.sample_id, answer.draw) in found:
            raise BadInput(f"'{answer.model}' has two answers to prompt {answer.sample_id}, draw {answer.draw}")
        found[answer.sample_id, answer.draw] = answer
    return found


def _side(name: str, answers: Sequence[Answer], prompts: int) -> Side:
    greedy = sum(answer.draw == 0 for answer in answers)
    model = answers[0].model if answers else name
    return Side(model=model, answered=greedy, missing=prompts - greedy, sampled=len(answers) - greedy)


def _perplexity(one: Comparison | None) -> Perplexity | None:
    return None if one is None else perplexity_of(one.base, one.adapter, one.interval, one.prompts)


def _verdict(one: Comparison) -> Claim:
    if one.p > LEVEL:
        return "not shown"
    return "better" if one.interval.low > 0 else "worse" if one.interval.high < 0 else "not shown"


def _in_words(one: Comparison, verdict: Claim, against: str) -> str:
    interval = one.interval
    return (
        f"{_claim_in_words(verdict, against)}: {METRICS[one.metric]}, {100 * one.base:.1f} against "
        f"{100 * one.adapter:.1f} of 100 on {number_of(one.prompts, 'prompt')}, a difference of "
        f"{100 * interval.value:+.1f} (95% interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}, "
        f"p = {one.p:.2g}). "
        f"{_shown_in_words(one)}"
    )


def _shown_in_words(one: Comparison) -> str:
    """Return what the prompts could have shown, which a person needs who reads that nothing is shown."""
    if one.detectable is None:
        return f"On {number_of(one.prompts, 'prompt')} the two differ so seldom that no difference can be shown."
    shown = f"a difference of {100 * one.detectable:.1f} or more in 80% of the cases"
    return f"{number_of(one.prompts, 'prompt')}: enough to show {shown}."


def _claim_in_words(claim: Claim, against: str) -> str:
    match claim:
        case "better":
            return f"The adapter is better than {against}"
        case "worse":
            return f"The adapter is worse than {against}"
        case "not shown":
            return f"No difference between the adapter and {against} is shown"
        case _:
            assert_never(claim)

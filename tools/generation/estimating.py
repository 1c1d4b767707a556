"""Estimate a run's calls, tokens and dollars before it starts, each with an interval and a bound.

How many tokens a call has is learned from the ledger's own past where there is one; else, and for how many calls there
will be, the figures below are taken. They were measured on two runs of the embedded model, the demo (110 prompts, 2,204
calls) and the proof (210 prompts, 1,146 draws), whose figures stand beside them; a larger model passes more checks and
needs fewer further draws, so the intervals reach from those to what the settings allow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from state.calls import TokenUse
from state.dimensions import DIMENSIONS
from state.request import WEIGHTS, Endpoint, RunRequest
from tools.candidates.scaffold import SHOWN
from tools.endpoint import capabilities, price_of
from tools.endpoint.budget import TEMPLATE_TOKENS
from tools.endpoint.deferring import SHARE
from tools.evaluation.asking import PUBLIC, PUBLIC_TOKENS
from tools.generation.costing import CostEstimate, StageEstimate, stage_estimate, sum_estimates
from tools.generation.deciding import GROWTH, GenerationFacts, decide_next_round
from tools.generation.past import Past
from tools.generation.planning import needs_of
from tools.generation.spans import Span, known, span
from tools.sources.seeds import SeedTask

BATCHED = ("generate", "respond", "judge")
"""The stages whose calls may wait for a batch."""
ACCEPTED = (0.05, 0.4, 1.0)
"""Share of the new tasks asked for that is accepted; the demo 0.33. The least, the expected and the most."""
NEEDING = span(0.0, 0.5, 1.0, 1.0)
"""Share of the prompts of which no plain draw is fit to imitate; 0.62 and 0.73."""
PASSED = span(0.4, 0.7, 1.0, 1.0)
"""Share of the plain draws that reach the judge; 0.58 and 0.55."""
FIT = span(0.0, 0.2, 1.0, 1.0)
"""Share of the scaffolded draws that do; 0.10 and 0.11."""
REPAIRED = span(0.0, 0.7, 1.0, 1.0)
"""Share of the repairs allowed that are made where draws are needed; 0.83 and 0.86."""
SECOND = span(0.9, 1.05, 1.5, 2.0)
"""Questions for one written judgement: an answer that does not fit its schema is asked for once more. Where one fails,
the rest of the crew is not asked."""
DIFFERENT = span(0.0, 0.9, 1.0, 1.0)
"""Share of the pairs whose two answers differ; equal ones are not judged."""
OFFERED = span(0.1, 0.7, 1.0, 1.0)
"""Share of the new tasks asked for that reach the gate; the demo 0.40."""
WRITTEN = span(0.2, 0.6, 1.1, 1.1)
"""Share of a list's ``max_tokens`` that is written; the demo 0.48. Some servers count more than they may write:
the scripted one of the tests 837 of 768."""
ANSWERED = span(0.1, 0.6, 1.0, 1.0)
"""Share of an answer's ``max_tokens`` that is written; 0.70 and 0.70."""
GRADED = span(0.03, 0.35, 1.0, 1.0)
"""Share of a judgement's ``max_tokens`` that is written: a score and at most 120 characters of reason."""
TOKENS = span(0.6, 1.0, 1.5, 4.0)
"""Tokens of a text over a quarter of its bytes: English words have 0.7 (a server that counts words), and no text has
more tokens than bytes."""
TEMPLATE = span(0.0, 8.0, 32.0, 2.0 * TEMPLATE_TOKENS)
"""Tokens that a chat template adds to a prompt; SmolLM2's own 29, a system turn among them."""
RUBRIC = 200
"""Tokens of a judge's prompt without the prompt and answer that it judges: 110 for a judge and 195 for the expert in
their present wording, and the JSON schema of the answer."""
JUDGES = len(DIMENSIONS) + 1
"""Calls for one judgement: one for each dimension, and one for the expert."""
LIKELIHOODS = 2
"""Calls of the off-topic filter for one answer, which count no tokens."""
FILTERED = span(0.2, 0.55, 1.0, 1.0)
"""Share of the answers that pass their checks, so that the filter is asked about them; the demo 0.57."""
TEXTS = span(0.0, 48.0, 64.0, 64.0)
"""Held-out texts of which each model's likelihood is measured, see ``tools.evaluation.perplexity``; the demo 48."""
NOTHING = known(0)


def estimate(
    request: RunRequest,
    seeds: Sequence[SeedTask],
    training: Sequence[str],
    heldout: Sequence[str],
    past: Sequence[TokenUse] = (),
    *,
    measured: bool = True,
) -> CostEstimate:
    """Estimate a run's calls, tokens and dollars.

    Args:
        request: the run's request; prices are those of its endpoints, and a price that is not known counts as nothing.
        seeds: the seed tasks; at least one. Generated prompts are taken to be as long as theirs.
        training: the given training prompts; ``sources.prompt_limit`` is applied here.
        heldout: the given held-out prompts; ``evaluate.limit`` is applied here.
        past: what earlier calls of this home used.
        measured: whether an adapter can be trained and evaluated here; a preview makes none.
    """
    training, heldout = training[: request.sources.prompt_limit], heldout[: request.evaluate.limit]
    needs = needs_of(request, seeds)
    lists, kept = generated(needs)
    tasks = max(needs.batch_size - needs.demonstrations, 1)
    offered = lists * tasks * OFFERED
    if request.preview:  # of what a call writes it takes no more than it was asked for
        kept, offered = kept.capped(needs.target), offered.capped(needs.target)
    samples = kept + len(training)
    written = [f"{task.instruction}\n\n{task.input}" for task in seeds]
    question = (
        _mean_tokens([*training, *heldout] or written) if not kept.expected else _mean_tokens([*training, *written])
    )
    work = _Work(request, Past(past), samples, question)
    stages = (
        work.generating(lists, known(needs.prompt_tokens / 4)),
        work.gating(offered),
        work.responding(),
        work.judging(len(heldout)),
        *([work.evaluating(heldout)] if measured and not request.preview else []),
    )
    total = sum_estimates("total", stages)
    if request.budget.dollars is not None:
        total = total.model_copy(update={"dollars": total.dollars.capped(request.budget.dollars)})
    return CostEstimate(stages=stages, total=total, prices=price_lines(request), learned=work.past.calls)


def generated(needs: GenerationFacts) -> tuple[Span, Span]:
    """Return the calls of all rounds of generation, and the instructions that they keep, by the decision's own rule."""
    played = [_played(needs, share) for share in ACCEPTED]
    calls, kept = sorted(calls for calls, _ in played), sorted(kept for _, kept in played)
    tasks = max(needs.batch_size - needs.demonstrations, 1)
    first, most = decide_next_round(needs).calls, 0
    for round_ in range(needs.rounds):
        most += min(first * GROWTH ** min(round_, 20), 100 * needs.target)
    most = max(most, calls[-1])
    all_kept = max(most * tasks, kept[-1])
    return span(calls[0], calls[1], calls[2], most), span(kept[0], kept[1], kept[2], all_kept)


def _played(needs: GenerationFacts, share: float) -> tuple[int, int]:
    """Return the calls and the rows kept if each call keeps this share of the tasks that it asks for."""
    facts, calls, kept = needs, 0, 0
    while (plan := decide_next_round(facts)).calls:
        asked = plan.calls * max(plan.batch_size - needs.demonstrations, 1)
        gained = math.floor(asked * share)
        calls, kept = calls + plan.calls, kept + gained
        changes = {"rounds_done": facts.rounds_done + 1, "calls": plan.calls, "gained": gained, "accepted": kept}
        known_now = {"offered": asked, "novelty": 1.0, "accepted_per_call": kept / calls}
        facts = facts.model_copy(update={**changes, **known_now, "requests_left": None, "tokens_left": None})
    return calls, kept


class _Work:
    """The stages of one run.

    Args:
        request: the run's.
        past: what earlier calls used.
        samples: training prompts, given and generated.
        question: tokens of one, a quarter of its bytes.
    """

    def __init__(self, request: RunRequest, past: Past, samples: Span, question: float) -> None:
        self.request, self.past, self.samples = request, past, samples
        self.question = TOKENS * question
        self.answer = ANSWERED * request.sampling.max_tokens

    def generating(self, calls: Span, prompt: Span) -> StageEstimate:
        """Return the cost of generating instructions; ``prompt`` is a quarter of a prompt's bytes."""
        completion = WRITTEN * self.request.generation.max_tokens
        return self._stage("generate", "generate", self.request.models.generator, calls, TOKENS * prompt, completion)

    def gating(self, rows: Span) -> StageEstimate:
        """Return the cost of the judge's opinions on what was generated; none unless they are asked for."""
        calls = rows * SECOND if self.request.gates.opinion else NOTHING
        prompt = known(RUBRIC) + self.question + self.answer
        return self._stage("gate", "gate", self.request.models.judge, calls, prompt, GRADED * 120)

    def responding(self) -> StageEstimate:
        """Return the cost of the plain draws, and of the scaffolded ones where they are needed."""
        sampling, policy = self.request.sampling, self.request.models.policy
        plain = self.samples * sampling.candidates
        scaffolded = self.samples * NEEDING * sampling.scaffold_draws
        shown = self.question + (self.question + self.answer) * SHOWN
        if self.past.knows("respond", policy.model):
            return self._stage("respond", "respond", policy, plain + scaffolded, self.question, self.answer)
        parts = [
            self._stage("respond", "respond", policy, calls, prompt + TEMPLATE, self.answer)
            for calls, prompt in ((plain, self.question), (scaffolded, shown))
        ]
        return sum_estimates("respond", parts)

    def judging(self, heldout: int) -> StageEstimate:
        """Return the cost of judging the candidates, and pairs of the evaluation's answers in both orders."""
        request, judge = self.request, self.request.models.judge
        sampling = request.sampling
        further = FIT * sampling.scaffold_draws + REPAIRED * sampling.repairs
        judged = self.samples * (PASSED * sampling.candidates) + self.samples * NEEDING * further
        pairs = self._tries() * DIFFERENT * (2 * min(request.evaluate.judged_pairs, heldout))
        if capabilities(judge).likelihoods:
            calls = (judged + pairs) * FILTERED * LIKELIHOODS
            return self._stage("judge", "judge.likelihood", judge, calls, NOTHING, NOTHING)
        rubric = TOKENS * RUBRIC + self.question + TEMPLATE
        both = ANSWERED * (2 * request.evaluate.max_tokens)
        completion = GRADED * request.judge.max_tokens
        alone = judged * SECOND * ((len(request.judge.shares) + 1) * request.judge.draws)
        parts = [
            self._stage("judge", "judge", judge, alone, rubric + self.answer, completion),
            self._stage("judge", "judge.pair", judge, pairs * SECOND, rubric + both, completion),
        ]
        return sum_estimates("judge", parts)

    def evaluating(self, heldout: Sequence[str]) -> StageEstimate:
        """Return what base and adapter answer and read: nothing but time, on this machine."""
        settings, local = self.request.evaluate, Endpoint(base_url=WEIGHTS, model=self.request.models.base)
        models = self._tries() + 1
        answers = models * (len(heldout) * (1 + settings.sampled_draws))
        prompt, completion = TOKENS * _mean_tokens(heldout) + TEMPLATE, ANSWERED * settings.max_tokens
        public = models * (settings.ifeval_prompts if settings.ifeval and heldout else 0)
        parts = [
            self._stage("evaluate", PUBLIC, local, public, prompt, ANSWERED * PUBLIC_TOKENS),
            self._stage("evaluate", "evaluate", local, answers, prompt, completion),
            self._stage("evaluate", "evaluate.perplexity", local, models * TEXTS, NOTHING, NOTHING),
        ]
        return sum_estimates("evaluate", parts)

    def _tries(self) -> Span:
        """Return the trainings: one that came out worse is tried again, and evaluated again."""
        rounds = float(self.request.train.rounds)
        return span(1.0, min(1.2, rounds), rounds, rounds)

    def _stage(
        self, stage: str, use: str, spec: Endpoint, calls: Span, prompt: Span, completion: Span
    ) -> StageEstimate:
        price = price_of(spec)
        share = SHARE if spec.batch is not None and stage in BATCHED else 1.0
        prices = (price.input * share, price.output * share) if price else (0.0, 0.0)
        prompt, completion = self.past.tokens(use, spec.model, prompt, completion)
        return stage_estimate(stage, calls, prompt, completion, prices)


def price_lines(request: RunRequest) -> tuple[str, ...]:
    """Return a line for each model that may cost money: its price, and where that comes from."""
    asked: Mapping[str, Endpoint] = {
        "generator": request.models.generator,
        "policy": request.models.policy,
        "judge": request.models.judge,
    }
    lines = []
    for name, spec in asked.items():
        price = price_of(spec)
        if price is None:
            lines.append(f"{name} {spec.model}: its price is not known, so it counts as nothing")
        elif price.input or price.output:
            half = "; half of that in batches" if spec.batch is not None else ""
            lines.append(
                f"{name} {spec.model}: ${price.input:g} in and ${price.output:g} out a million tokens "
                f"({price.source}{half})"
            )
    return tuple(lines)


def _mean_tokens(texts: Sequence[str]) -> float:
    """Return a quarter of the mean length of texts in bytes; 0 where there are none."""
    return sum(len(text.encode("utf-8", "replace")) for text in texts) / (4 * len(texts)) if texts else 0.0

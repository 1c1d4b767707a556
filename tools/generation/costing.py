"""Estimate a run's cost before it starts, and compare it with the actual cost.

The estimate is arithmetic on the request. It takes every completion to be as long as it may be, and a prompt to be as
long as the seed tasks suggest, so it is usually too high, except where a model writes fewer good tasks than assumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from state.calls import PurposeTally
from state.dimensions import DIMENSIONS
from state.records import Record
from state.request import WEIGHTS, Endpoint, Generation, RunRequest
from tools.candidates.scaffold import SHOWN
from tools.endpoint import capabilities
from tools.generation.deciding import ASSUMED_SHARE
from tools.generation.prompting import generation_call
from tools.judging.size import too_small_to_write
from tools.sources.seeds import SeedTask

BYTES_PER_TOKEN = 4
"""Of English text in current tokenizers, after OpenAI's rule of thumb."""
MESSAGE_TOKENS = 4
"""Added by a chat template to each message."""
JUDGES = len(DIMENSIONS) + 1
"""Calls for one judgement: one for each dimension, and one for the expert."""
LIKELIHOODS = 3
"""Calls for one judgement by likelihoods."""
RUBRIC_TOKENS = 200
"""Of a judge's prompt without the prompt and answer that it judges: 110 for a judge and 195 for the expert in their
present wording, and the JSON schema of the answer."""


class StageCost(Record):
    """One stage's calls, with their tokens and dollars."""

    stage: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float


class CostEstimate(Record):
    """What the whole run is expected to cost."""

    stages: tuple[StageCost, ...]
    """``generate``, ``respond``, ``judge`` and ``evaluate``."""
    total: StageCost


class StageComparison(Record):
    """A stage's estimated and actual cost."""

    stage: str
    estimated: StageCost
    actual: StageCost

    @property
    def ratio(self) -> float | None:
        """Actual over estimated dollars; ``None`` where nothing was estimated."""
        return self.actual.dollars / self.estimated.dollars if self.estimated.dollars else None


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has: a quarter of its UTF-8 bytes, rounded up."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN)


def estimate(
    request: RunRequest, seeds: Sequence[SeedTask], prompts_count: int, heldout_count: int = 0
) -> CostEstimate:
    """Estimate a run's calls, tokens and dollars.

    An evaluation is counted once; a training that is tried again is evaluated again.

    Args:
        request: the run's request; prices are those of its endpoints.
        seeds: the seed tasks; at least one. Prompts are taken to be as long as theirs.
        prompts_count: given training prompts; ``sources.prompt_limit`` is applied here.
        heldout_count: given held-out prompts; ``evaluate.limit`` is applied here.
    """
    limit = request.sources.prompt_limit
    prompts = prompts_count if limit is None else min(prompts_count, limit)
    samples = request.generation.target + prompts
    candidates = samples * request.sampling.candidates
    question = math.ceil(sum(estimate_tokens(f"{task.instruction}\n\n{task.input}") for task in seeds) / len(seeds))
    stages = (
        _stage(
            "generate",
            request.models.generator,
            calls=generation_calls(request.generation),
            prompt=_batch_prompt_tokens(request.generation, seeds),
            completion=request.generation.max_tokens,
        ),
        _responding(request, candidates, prompts * request.sampling.scaffold_draws, question),
        _judging(
            request, candidates + prompts * (request.sampling.scaffold_draws + request.sampling.repairs), question
        ),
        _evaluating(request, heldout_count, question),
    )
    return CostEstimate(stages=stages, total=_total("total", stages))


def _responding(request: RunRequest, plain: int, scaffolded: int, question: int) -> StageCost:
    """Return the cost of the draws, if every prompt needs the scaffolded ones, too."""
    answer = request.sampling.max_tokens
    parts = ((plain, question), (scaffolded, question + SHOWN * (question + answer)))
    stages = [
        _stage("respond", request.models.policy, calls=calls, prompt=prompt + MESSAGE_TOKENS, completion=answer)
        for calls, prompt in parts
    ]
    return _total("respond", stages)


def _judging(request: RunRequest, candidates: int, question: int) -> StageCost:
    """Return the cost of judging candidates, and pairs of the evaluation's answers in both orders."""
    judge, pairs = request.models.judge, 2 * request.evaluate.judged_pairs
    if capabilities(judge).likelihoods and too_small_to_write(judge.model):
        return _stage("judge", judge, calls=(candidates + pairs) * LIKELIHOODS, prompt=question, completion=0)
    parts = (
        (candidates * JUDGES * request.judge.draws, request.sampling.max_tokens),
        (pairs, 2 * request.evaluate.max_tokens),
    )
    stages = [
        _stage(
            "judge",
            judge,
            calls=calls,
            prompt=RUBRIC_TOKENS + question + shown + 2 * MESSAGE_TOKENS,
            completion=request.judge.max_tokens,
        )
        for calls, shown in parts
    ]
    return _total("judge", stages)


def _evaluating(request: RunRequest, heldout: int, question: int) -> StageCost:
    """Return the cost of base and adapter answering held-out prompts: nothing but time, on this machine."""
    settings = request.evaluate
    answers = 2 * min(heldout, settings.limit or heldout) * (1 + settings.sampled_draws)
    local = Endpoint(base_url=WEIGHTS, model=request.models.base)
    return _stage("evaluate", local, calls=answers, prompt=question, completion=settings.max_tokens)


def generation_calls(settings: Generation) -> int:
    """Return the calls that reach the target if half of the new tasks of each are accepted."""
    new = max(settings.tasks_per_call - settings.demonstrations, 1)
    return math.ceil(settings.target / (ASSUMED_SHARE * new))


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
            stage=name, estimated=expected.get(name, _total(name, ())), actual=_total(name, spent.get(name, ()))
        )
        for name in names
    ]
    return [
        *rows,
        StageComparison(stage="total", estimated=estimated.total, actual=_total("total", [row.actual for row in rows])),
    ]


def _stage(name: str, endpoint: Endpoint, *, calls: int, prompt: int, completion: int) -> StageCost:
    prompt, completion = calls * prompt, calls * completion
    dollars = (prompt * endpoint.input_price + completion * endpoint.output_price) / 1e6
    return StageCost(stage=name, calls=calls, prompt_tokens=prompt, completion_tokens=completion, dollars=dollars)


def _paid(tally: PurposeTally) -> StageCost:
    return StageCost(
        stage=tally.purpose,
        calls=tally.answered + tally.failed - tally.from_ledger,
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tally.completion_tokens,
        dollars=tally.cost,
    )


def _total(name: str, rows: Sequence[StageCost]) -> StageCost:
    return StageCost(
        stage=name,
        calls=sum(row.calls for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        dollars=sum(row.dollars for row in rows),
    )


def _batch_prompt_tokens(settings: Generation, seeds: Sequence[SeedTask]) -> int:
    """Return the tokens of one batch prompt, with demonstrations as a first call would show them."""
    call = generation_call(seeds, settings, round=1, index=0, seed=0, accepted_by_category={})
    return sum(estimate_tokens(message["content"]) + MESSAGE_TOKENS for message in call.messages)

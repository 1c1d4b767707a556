"""What a pipeline's run has made, stage by stage, in the guide's words."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING, Any

from corral.running import finished
from state.pipeline import PipelineState
from state.records import Judgement, Outcome, Record

if TYPE_CHECKING:
    from graph.accounts import Tally
    from graph.runs import Runs


class Stage(Record):
    """What can also be read as a mapping: ``result["stages"]["dataset"]["num_examples"]``."""

    def __getitem__(self, name: str) -> Any:
        if name not in type(self).model_fields:
            raise KeyError(name)
        return getattr(self, name)


class AnswersStage(Stage):
    """What the policy answered."""

    num_prompts: int
    """Prompts to train on."""
    num_answers: int
    failed: int
    """Answers that could not be had: the policy raised, or returned no text."""
    rejected: int
    """Those that can never be imitated, or that were judged so."""
    reasons: dict[str, int]
    """Why answers were not accepted, the most frequent reason first."""


class FeedbackStage(Stage):
    """What the judges said."""

    num_judged: int
    avg_rating: float | None
    """Mean stars, 1 to 5; ``None`` where nothing was judged."""
    avg_score: float | None
    """Mean overall score, 0 to 100."""
    ratings: dict[int, int]
    """How often each number of stars was given."""
    chosen_share: float | None
    """Share with 4 or 5 stars."""
    failed: int
    """Answers that could not be judged."""
    judge: str
    """Identity of the judge."""


class DatasetStage(Stage):
    """What is trained on."""

    num_examples: int
    """Rows that the training's phases read."""
    sft_rows: int
    dpo_rows: int
    folder: str


class TrainingStage(Stage):
    """The adapter."""

    adapter: str
    """Its folder."""
    rounds: int
    """Trainings; one that came out worse is tried again."""
    flags: tuple[str, ...]
    """Why the tripwires flagged it; empty where none did."""


class EvaluationStage(Stage):
    """The adapter against its base, on held-out prompts."""

    verdict: str
    """``better``, ``not shown`` or ``worse``."""
    metric: str
    base: float
    adapter: float
    difference: float
    low: float
    """Lower end of the 95% interval of the difference."""
    high: float
    prompts: int


class DeploymentStage(Stage):
    """What became of it."""

    approved: bool
    reviewer: str
    """Who signed it, a person or a named policy."""
    comment: str
    version: str
    """In the registry; empty where it was not deployed."""


class Stages(Stage):
    """All stages; one that the run has not reached is ``None``."""

    answers: AnswersStage | None = None
    feedback: FeedbackStage | None = None
    dataset: DatasetStage | None = None
    training: TrainingStage | None = None
    evaluation: EvaluationStage | None = None
    deployment: DeploymentStage | None = None


class PipelineResult(Stage):
    """Where a pipeline's run stands, and what it made."""

    adapter_name: str
    """The run's name."""
    standing: str
    """``done``, or ``waiting`` for a person."""
    step: str
    """The step that waits; empty where the run is done."""
    detail: str
    stages: Stages
    spent: float
    """Dollars of all calls."""
    warnings: tuple[str, ...]


async def result_of(runs: Runs, run_id: str) -> PipelineResult:
    """Return what a run has made so far."""
    from graph.accounts import account

    done, state, accounts = await finished(runs, run_id), await runs.state(run_id), await account(runs.services, run_id)
    tallies = {row.kind: row for row in accounts.rows}
    request = await runs.services.store.request_of(run_id)
    stages = Stages(
        answers=_answers(tallies),
        feedback=await _feedback(runs, run_id),
        dataset=_dataset(state, request.train.recipe),
        training=_training(state),
        evaluation=_evaluation(state),
        deployment=_deployment(state),
    )
    said = done.model_dump(include={"standing", "step", "detail", "spent", "warnings"})
    return PipelineResult(adapter_name=run_id, stages=stages, **said)


def _answers(tallies: dict[str, Tally]) -> AnswersStage | None:
    from graph.accounts import CANDIDATES, TRAINING

    answers, prompts = tallies.get(CANDIDATES), tallies.get(TRAINING)
    if answers is None or not answers.total:
        return None
    return AnswersStage(
        num_prompts=prompts.total if prompts else 0,
        num_answers=answers.total,
        failed=answers.failed,
        rejected=answers.rejected,
        reasons=answers.reasons,
    )


async def _feedback(runs: Runs, run_id: str) -> FeedbackStage | None:
    stars: Counter[int] = Counter()
    scores: list[float] = []
    judges: Counter[str] = Counter()
    failed = 0
    async for page in runs.services.store.pages(run_id, Judgement):
        good = [one for one in page if one.outcome != Outcome.FAILED]
        failed += len(page) - len(good)
        stars.update(one.stars for one in good if one.stars is not None)
        scores += [one.overall for one in good if one.overall is not None]
        judges.update(one.judge for one in page)
    if not judges:
        return None
    return FeedbackStage(
        num_judged=len(scores),
        avg_rating=fmean(stars.elements()) if stars else None,
        avg_score=fmean(scores) if scores else None,
        ratings=dict(sorted(stars.items())),
        chosen_share=sum(count for given, count in stars.items() if given >= 4) / stars.total() if stars else None,
        failed=failed,
        judge=judges.most_common(1)[0][0],
    )


def _dataset(state: PipelineState, recipe: str) -> DatasetStage | None:
    dataset = state.get("dataset")
    if dataset is None:
        return None
    rows = {"sft": dataset.sft_rows, "dpo": dataset.dpo_rows}
    return DatasetStage(
        num_examples=sum(rows.get(phase, 0) for phase in recipe.split("+")),
        sft_rows=dataset.sft_rows,
        dpo_rows=dataset.dpo_rows,
        folder=dataset.folder,
    )


def _training(state: PipelineState) -> TrainingStage | None:
    adapter = state.get("adapter")
    if adapter is None:
        return None
    return TrainingStage(adapter=adapter.folder, rounds=state.get("training_round", 0), flags=adapter.flags)


def _evaluation(state: PipelineState) -> EvaluationStage | None:
    verdict = state.get("verdict")
    return None if verdict is None else EvaluationStage(**verdict.model_dump(include=set(EvaluationStage.model_fields)))


def _deployment(state: PipelineState) -> DeploymentStage | None:
    approval = state.get("approval")
    if approval is None:
        return None
    return DeploymentStage(
        **approval.model_dump(include={"approved", "reviewer", "comment"}), version=state.get("deployed", "")
    )

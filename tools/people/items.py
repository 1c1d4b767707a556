"""What goes to people, with the records that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from state.reading import RecordReader
from state.records import Candidate, GoldAnswer, Judgement, Outcome, Record, ReviewTask, Sample, Why
from state.request import RunRequest

WHY: dict[Why, str] = {
    "between_thresholds": "the machines could not decide: its score lies between the two thresholds",
    "not_judged": "nothing can judge it: no check applies, and there is no reference",
    "checks_disagree": "checks and judge disagree about it",
    "audit": "it is in the random sample of what the machines decided alone",
    "human_share": "it is in the share of prompts that people compare",
}
"""Why an item goes to people, in words."""


class Item(Record):
    """An item that goes to people, with its records."""

    task: ReviewTask
    sample: Sample
    candidates: tuple[Candidate, ...] = ()
    """The completion, or the two answers of a pair, A and B; none of an instruction."""
    judgements: tuple[Judgement | None, ...] = ()
    """Of each of them."""

    @property
    def id(self) -> str:
        """The id of what waits."""
        return self.task.id

    @property
    def caution(self) -> str:
        """What a person should know before they approve a completion; empty where there is nothing."""
        if self.task.kind != "completion" or self.judgement is None:
            return ""
        demanded = {check.kind for check in self.sample.checks}
        failed = [c.kind for c in self.judgement.checks if c.passed is False and c.kind in demanded]
        return (
            f"Training imitates no answer that fails a written check ({', '.join(failed)}): edit it" if failed else ""
        )

    @property
    def score(self) -> float | None:
        """Its score on the scale of ``thresholds``: 0 to 100 for a completion, 0 to 1 for an instruction.

        ``None`` for a completion that nothing could judge.
        """
        return self.judgement.overall if self.judgement else (self.sample.score or 0.0)

    def thresholds(self, request: RunRequest) -> tuple[float, float]:
        """Return the scores between which the machines leave it to a person."""
        settings = request.gates if self.task.kind == "instruction" else request.judge
        return settings.review_from, settings.accept

    @property
    def texts(self) -> tuple[str, ...]:
        """What is decided about: the instruction, the completion, or the two answers of a pair."""
        match self.task.kind:
            case "instruction":
                return (self.sample.instruction,)
            case "completion" | "pair":
                return tuple(candidate.text for candidate in self.candidates)
            case _:
                assert_never(self.task.kind)

    @property
    def judgement(self) -> Judgement | None:
        """The judgement of a completion; of nothing else, since who compares two answers is not told theirs."""
        return self.judgements[0] if self.task.kind == "completion" else None


async def load_items(store: RecordReader, run_id: str, tasks: Sequence[ReviewTask]) -> list[Item]:
    """Return the items of these tasks with their records, in their order."""
    of = {task.id: _answers(task) for task in tasks}
    candidates = {c.id: c for c in await store.find(run_id, Candidate, ids=[id_ for ids in of.values() for id_ in ids])}
    found = await store.find(run_id, Judgement, parents=list(candidates))
    judged = {j.candidate_id: j for j in found if j.outcome != Outcome.FAILED}
    samples = {s.id: s for s in await store.find(run_id, Sample, ids=[t.sample_id for t in tasks if not t.gold])}
    return [
        _gold(task, task.gold)
        if task.gold
        else Item(
            task=task,
            sample=samples[task.sample_id],
            candidates=tuple(candidates[id_] for id_ in of[task.id]),
            judgements=tuple(judged.get(id_) for id_ in of[task.id]),
        )
        for task in tasks
    ]


def _answers(task: ReviewTask) -> tuple[str, ...]:
    """Return the ids of the candidates that a task is about."""
    if task.gold:
        return ()
    return task.candidates or ((task.id,) if task.kind == "completion" else ())


def _gold(task: ReviewTask, gold: GoldAnswer) -> Item:
    """Return an item whose answer is known; no row of the run is about it."""
    asked = Sample(id=task.sample_id, instruction=gold.prompt, origin="prompt")
    answer = Candidate(id=task.id, sample_id=task.sample_id, draw=0, text=gold.text, ended=True)
    return Item(task=task, sample=asked, candidates=(answer,), judgements=(None,))

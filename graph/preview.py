"""A preview: a run of a few rows that stops before it trains, to see what a request gives and what it costs."""

from __future__ import annotations

from collections import defaultdict

from graph.services import Services
from state.records import Candidate, Judgement, Record, Sample
from state.request import RunRequest

LAST_STEP = "assemble"
"""The last step that a preview takes."""
NAME = "preview-"


class PreviewedRow(Record):
    """One prompt with the best of its answers."""

    prompt: str
    origin: str
    """``prompt`` for one of the file, ``generated`` for one that was written."""
    answer: str
    """The one with the highest score; empty where none was drawn."""
    outcome: str
    """Of the answer."""
    overall: float | None
    """The judge's score, 0 to 100; ``None`` where it was not judged."""
    why: str
    """The reasons, where it was not accepted."""


def previewed(request: RunRequest, rows: int) -> RunRequest:
    """Return the request of a preview.

    It takes the first prompts and the first calls of the whole run's, with the same seed and draws, so that the whole
    run finds their answers in the ledger. It is unattended, since what people decided in it would be lost.

    Args:
        request: the whole run's.
        rows: training prompts of the file at most, and written instructions at most. A call writes a list of them; of
            that list no more are taken.
    """
    most = min(rows, request.sources.prompt_limit or rows)
    return request.model_copy(
        update={
            "name": f"{NAME}{request.name}"[:41],
            "unattended": True,
            "preview": True,
            "sources": request.sources.model_copy(update={"prompt_limit": most}),
            "generation": request.generation.model_copy(
                update={"target": min(rows, request.generation.target), "rounds": 1}
            ),
        }
    )


async def previewed_rows(services: Services, run_id: str, rows: int) -> list[PreviewedRow]:
    """Return training prompts of a run with the best answer of each, in the order of their ids.

    Args:
        services: the process's.
        run_id: a preview.
        rows: of either origin, at most.
    """
    samples = await services.store.find(run_id, Sample, tag="train")
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.origin].append(sample)
    shown = [sample for group in found.values() for sample in group[:rows]]
    candidates = await services.store.find(run_id, Candidate, parents=[sample.id for sample in shown])
    judgements = await services.store.find(run_id, Judgement, parents=[candidate.id for candidate in candidates])
    scores = {one.candidate_id: one.overall for one in judgements if one.overall is not None}
    drawn: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        drawn[candidate.sample_id].append(candidate)
    return [_row(sample, drawn[sample.id], scores) for sample in shown]


def _row(sample: Sample, candidates: list[Candidate], scores: dict[str, float]) -> PreviewedRow:
    best = max(candidates, key=lambda candidate: scores.get(candidate.id, -1.0), default=None)
    decided = sample if best is None else best
    return PreviewedRow(
        prompt="\n\n".join(filter(None, (sample.instruction, sample.input))),
        origin=sample.origin,
        answer="" if best is None else best.text,
        outcome=decided.outcome.value,
        overall=None if best is None else scores.get(best.id),
        why="; ".join(decided.reasons),
    )

"""What goes to people, and in which order: what the machines could not decide, and some of what they did. Pure."""

from __future__ import annotations

from datetime import datetime

from state.records import Candidate, Judgement, ReviewTask, Sample, Why

HEAD = 120
"""Characters of a prompt in a list."""


def instruction_task(sample: Sample, why: tuple[Why, ...], position: int, now: datetime) -> ReviewTask:
    """Return the task of an instruction."""
    return ReviewTask(
        id=sample.id,
        kind="instruction",
        sample_id=sample.id,
        why=why,
        position=position,
        disagreement=0.0,
        machine=sample.outcome,
        head=sample.instruction[:HEAD],
        opened_at=now,
    )


def completion_task(
    sample: Sample, candidate: Candidate, judgement: Judgement, why: tuple[Why, ...], position: int, now: datetime
) -> ReviewTask:
    """Return the task of a completion."""
    return ReviewTask(
        id=candidate.id,
        kind="completion",
        sample_id=sample.id,
        why=why,
        position=position,
        disagreement=round(1 - judgement.confidence, 3),
        machine=judgement.outcome,
        head=sample.instruction[:HEAD],
        opened_at=now,
    )

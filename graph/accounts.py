"""The sum of a run: every sample, candidate and call is accepted, rejected, waiting, pending or failed."""

from __future__ import annotations

from collections import Counter

from graph.services import Services
from state.calls import PurposeTally
from state.records import Candidate, GenerationRound, Outcome, Record, Sample

REASONS = 8
"""Reasons shown for each kind of row, the most frequent first."""


class Tally(Record):
    """How the rows of one kind came out."""

    kind: str
    total: int
    accepted: int
    rejected: int
    waiting: int
    pending: int
    failed: int
    reasons: dict[str, int]
    """Why rows were not accepted, by the reason's head, most frequent first."""

    @property
    def adds_up(self) -> bool:
        """Whether the outcomes sum to the rows there are."""
        return self.total == self.accepted + self.rejected + self.waiting + self.pending + self.failed


class Accounts(Record):
    """The whole sum of a run."""

    rows: list[Tally]
    calls: list[PurposeTally]
    rounds: list[GenerationRound]
    spent: float
    """Dollars this run paid."""
    cap: float | None
    """Dollars it may pay."""


async def account(services: Services, run_id: str) -> Accounts:
    """Return the sum of a run, from the store as it is now."""
    samples = await services.store.find(run_id, Sample)
    candidates = await services.store.find(run_id, Candidate)
    kinds: dict[str, list[Sample] | list[Candidate]] = {
        "given prompts, training": [s for s in samples if s.origin == "prompt" and s.split == "train"],
        "given prompts, held out": [s for s in samples if s.split == "heldout"],
        "generated instructions": [s for s in samples if s.origin == "generated" and s.split == "train"],
        "candidates": candidates,
    }
    return Accounts(
        rows=[tally(kind, rows) for kind, rows in kinds.items()],
        calls=await services.calls.tally(run_id),
        rounds=sorted(await services.store.find(run_id, GenerationRound), key=lambda r: r.round),
        spent=await services.calls.spent(run_id),
        cap=await services.calls.cap(run_id),
    )


def tally(kind: str, rows: list[Sample] | list[Candidate]) -> Tally:
    """Count rows by outcome, and by reason where they were not accepted."""
    outcomes = Counter(row.outcome for row in rows)
    reasons = Counter(
        reason.split(":")[0].strip() for row in rows if row.outcome != Outcome.ACCEPTED for reason in row.reasons[:1]
    )
    return Tally(
        kind=kind,
        total=len(rows),
        accepted=outcomes[Outcome.ACCEPTED],
        rejected=outcomes[Outcome.REJECTED],
        waiting=outcomes[Outcome.WAITING],
        pending=outcomes[Outcome.PENDING],
        failed=outcomes[Outcome.FAILED],
        reasons=dict(reasons.most_common(REASONS)),
    )

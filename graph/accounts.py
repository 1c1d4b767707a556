"""The accounts of a run: every sample and candidate is accepted, rejected, waiting, pending or failed."""

from __future__ import annotations

from collections import Counter

from graph.estimates import expected_cost
from graph.inputs import request_to_show
from graph.services import Services
from state.calls import PurposeTally
from state.errors import BadInput
from state.records import Candidate, GenerationRound, Outcome, Record, Review, Sample
from tools.generation.costing import StageComparison, compare
from tools.people.decisions import decided_in_words, decider_of

REASONS = 8
"""Reasons shown for each kind of row, the most frequent first."""


class Tally(Record):
    """The outcomes of the rows of one kind."""

    kind: str
    total: int
    accepted: int
    rejected: int
    waiting: int
    pending: int
    failed: int
    reasons: dict[str, int]
    """Why rows were not accepted: how often each reason was given, the most frequent first."""

    @property
    def adds_up(self) -> bool:
        """Whether the counts of the outcomes sum to the total."""
        return self.total == self.accepted + self.rejected + self.waiting + self.pending + self.failed


class Accounts(Record):
    """All counts and costs of a run."""

    rows: list[Tally]
    calls: list[PurposeTally]
    rounds: list[GenerationRound]
    costs: list[StageComparison]
    """Each stage's estimate beside what it used, the total last; empty if there is no estimate."""
    costs_note: str = ""
    """Why there is no estimate."""
    prices: tuple[str, ...] = ()
    """A line for each model that may cost money: what its tokens cost, and who says so."""
    decided: dict[str, int]
    """Decisions on borderline rows, by who took them: each person and each policy, apart."""
    spent: float
    """Dollars this run paid."""
    cap: float | None
    """Dollars it may pay."""


async def account(services: Services, run_id: str) -> Accounts:
    """Return the accounts of a run, from the store as it is now."""
    samples = await services.store.find(run_id, Sample)
    candidates = await services.store.find(run_id, Candidate)
    kinds: dict[str, list[Sample] | list[Candidate]] = {
        "given prompts, training": [s for s in samples if s.origin == "prompt" and s.split == "train"],
        "given prompts, held out": [s for s in samples if s.split == "heldout"],
        "generated instructions": [s for s in samples if s.origin == "generated" and s.split == "train"],
        "candidates": candidates,
    }
    used = await services.calls.tally(run_id)
    costs, prices, note = await cost_comparison(services, run_id, used)
    return Accounts(
        rows=[tally(kind, rows) for kind, rows in kinds.items()],
        calls=used,
        costs=costs,
        costs_note=note,
        prices=prices,
        rounds=sorted(await services.store.find(run_id, GenerationRound), key=lambda r: r.round),
        decided=await decisions(services, run_id),
        spent=await services.calls.spent(run_id),
        cap=await services.calls.cap(run_id),
    )


async def decisions(services: Services, run_id: str) -> dict[str, int]:
    """Return how many borderline rows each person and each policy decided, the most first."""
    counts: Counter[str] = Counter()
    async for reviewer, _ in services.store.scan(run_id, Review, "reviewer", "decision"):
        counts[decided_in_words(decider_of(reviewer), reviewer)] += 1
    return dict(counts.most_common())


async def cost_comparison(
    services: Services, run_id: str, used: list[PurposeTally]
) -> tuple[list[StageComparison], tuple[str, ...], str]:
    """Return estimate and truth of each stage, and prices; nothing, and why, where the run's files cannot be read."""
    try:
        expected = await expected_cost(services, run_id, await request_to_show(services, run_id))
    except BadInput as error:
        return [], (), f"what the run was expected to cost is not known: {error}"
    return compare(expected, used), expected.prices, ""


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

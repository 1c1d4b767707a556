"""The accounts of a run: every sample and candidate is accepted, rejected, waiting, pending or failed."""

from __future__ import annotations

from collections import Counter

from graph.estimates import expected_cost
from graph.inputs import request_to_show
from graph.services import Services
from state.calls import PurposeTally
from state.errors import BadInput
from state.records import Candidate, GenerationRound, Outcome, Rating, Record, Review, Sample
from state.reviewing import ReviewStore
from tools.generation.costing import StageComparison, compare
from tools.people.auditing import AuditedError, audited_errors
from tools.people.decisions import decided_head, decided_in_words, decider_of
from tools.people.raters import GoldAccuracy, gold_accuracy
from tools.reasons import OTHER, count_reason

REASONS = 8
"""Reasons shown for each kind of row, the most frequent first."""
TRAINING, HELD_OUT = "given prompts, training", "given prompts, held out"
GENERATED, CANDIDATES = "generated instructions", "candidates"
RATED, SIMILAR = "prompts that people rated", "prompts similar to those rated low"
KINDS = {"prompt": TRAINING, "generated": GENERATED, "feedback": RATED, "similar": SIMILAR}
"""Of training rows, by origin."""


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
    """Why rows were not accepted: how often each reason was given, the most frequent first, the rest together."""

    @property
    def adds_up(self) -> bool:
        """Whether the counts of the outcomes sum to the total."""
        return self.total == self.accepted + self.rejected + self.waiting + self.pending + self.failed


class RowTally:
    """Counts the rows of one kind, as the database groups them."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, outcome: str, reason: str, count: int = 1) -> None:
        """Count rows of one outcome and one reason; an accepted row's reason is no reason against it."""
        self._outcomes[outcome] += count
        if reason and outcome != Outcome.ACCEPTED:
            count_reason(self._reasons, decided_head(reason) or reason.split(":")[0].strip(), count)

    def result(self) -> Tally:
        """Return the counts."""
        shown = Counter(dict(self._reasons.most_common(REASONS)))
        if rest := self._reasons.total() - shown.total():
            shown[OTHER] += rest
        return Tally(
            kind=self._kind,
            total=self._outcomes.total(),
            accepted=self._outcomes[Outcome.ACCEPTED],
            rejected=self._outcomes[Outcome.REJECTED],
            waiting=self._outcomes[Outcome.WAITING],
            pending=self._outcomes[Outcome.PENDING],
            failed=self._outcomes[Outcome.FAILED],
            reasons=dict(shown),
        )


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
    audited: tuple[AuditedError, ...] = ()
    """How often the machines were wrong in what they decided alone, as far as people looked at a sample of it."""
    gold: tuple[GoldAccuracy, ...] = ()
    """How often each person was right on items whose answer is known."""
    batches: tuple[str, ...] = ()
    """A line for each batch of calls: what waits until when, or what came of it."""
    spent: float
    """Dollars this run paid."""
    cap: float | None
    """Dollars it may pay."""


async def account(services: Services, run_id: str) -> Accounts:
    """Return the accounts of a run, from the store as it is now; the database counts, and no row is read."""
    store = services.store
    rows = {kind: RowTally(kind) for kind in (TRAINING, HELD_OUT, GENERATED, CANDIDATES)}
    async for split, origin, outcome, reason, count in store.reasons(run_id, Sample):
        kind = HELD_OUT if split == "heldout" else KINDS.get(origin)
        if kind is not None:
            rows.setdefault(kind, RowTally(kind)).add(outcome, reason, count)
    async for _, _, outcome, reason, count in store.reasons(run_id, Candidate):
        rows[CANDIDATES].add(outcome, reason, count)
    used = await services.calls.tally(run_id)
    costs, prices, note = await cost_comparison(services, run_id, used)
    return Accounts(
        rows=[one.result() for one in rows.values()],
        calls=used,
        costs=costs,
        costs_note=note,
        prices=prices,
        rounds=sorted(await store.find(run_id, GenerationRound), key=lambda r: r.round),
        decided=await decisions(services, run_id),
        audited=await audited(services, run_id),
        gold=await gold_of(services, run_id),
        batches=tuple(batch.in_words for batch in await services.batches.all(run_id)),
        spent=await services.calls.spent(run_id),
        cap=await services.calls.cap(run_id),
    )


async def decisions(services: Services, run_id: str) -> dict[str, int]:
    """Return how many borderline rows each person and each policy decided, the most first."""
    counts: Counter[str] = Counter()
    async for reviewer, _ in services.store.scan(run_id, Review, "reviewer", "decision"):
        counts[decided_in_words(decider_of(reviewer), reviewer)] += 1
    return dict(counts.most_common())


async def gold_of(services: Services, run_id: str) -> tuple[GoldAccuracy, ...]:
    """Return how often each person was right on the run's gold items, by name."""
    people = ReviewStore(services.database)
    known = {task.id: task.gold.decision for task in await people.gold(run_id) if task.gold}
    return gold_accuracy(await people.find(run_id, Rating, list(known)), dict(known))


async def audited(services: Services, run_id: str) -> tuple[AuditedError, ...]:
    """Return how often the machines were wrong in what they decided alone, by the sample that people looked at."""
    tasks = await ReviewStore(services.database).audited(run_id)
    reviews = await services.store.find(run_id, Review, parents=[task.id for task in tasks])
    return audited_errors(tasks, reviews)


async def cost_comparison(
    services: Services, run_id: str, used: list[PurposeTally]
) -> tuple[list[StageComparison], tuple[str, ...], str]:
    """Return estimate and truth of each stage, and prices; nothing, and why, where the run's files cannot be read."""
    try:
        expected = await expected_cost(services, run_id, await request_to_show(services, run_id))
    except BadInput as error:
        return [], (), f"what the run was expected to cost is not known: {error}"
    return compare(expected, used), expected.prices, ""

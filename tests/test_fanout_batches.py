"""Batches, what becomes of a batch when an item fails, the budget's question, and the sums of a run."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.accounts import REASONS, RowTally, Tally, account
from graph.budget import budget_action, new_cap
from graph.fanout import BATCHES, LARGEST_BATCH, SMALLEST_BATCH, batches_of
from graph.services import Services, make_services
from state.batches import BatchStore
from state.calls import CallStore
from state.database import Database
from state.errors import BudgetExceeded, EndpointRefused
from state.pipeline import Overspend
from state.records import Candidate, GenerationRound, Outcome, Sample
from state.request import Budget, RunRequest
from state.rows import reason_kind
from state.store import RecordStore
from tests.builders import call, candidate, failed_call, sample
from tools.batch import for_each
from tools.people.questions import HumanAnswer, answer_schema
from tools.settings import Settings

# Batches


@given(st.integers(0, 4000))
def test_a_wave_is_the_head_of_the_ids_in_order_cut_evenly(count: int) -> None:
    ids = [str(number) for number in range(count)]
    batches = batches_of(ids)
    sent = [id_ for batch in batches for id_ in batch]
    assert sent == ids[: len(sent)]
    assert len(sent) == min(count, BATCHES * LARGEST_BATCH)
    assert len(batches) <= BATCHES
    sizes = [len(batch) for batch in batches]
    assert all(size == sizes[0] for size in sizes[:-1]) and all(0 < size <= LARGEST_BATCH for size in sizes)
    assert all(size >= SMALLEST_BATCH for size in sizes[:-1])


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (500, [10] * 50), (501, [11] * 45 + [6]), (9999, [50] * 50)],
)
def test_the_sizes_of_a_wave(count: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches_of(["id"] * count)] == sizes


# One item of a batch


async def test_all_items_are_done_at_once() -> None:
    started, go = [], asyncio.Event()

    async def work(item: int) -> None:
        started.append(item)
        if len(started) == 5:
            go.set()
        await go.wait()

    assert await asyncio.wait_for(for_each(range(5), work), 5) is None
    assert started == [0, 1, 2, 3, 4]


async def test_no_items_are_done_at_once_too() -> None:
    async def work(item: int) -> None:
        raise AssertionError(item)

    assert await for_each([], work) is None


async def test_the_budget_ends_only_the_items_it_does_not_reach() -> None:
    done = []

    async def work(item: int) -> None:
        if item % 2:
            raise BudgetExceeded(spent=1.5, cap=2.0)
        await asyncio.sleep(0)
        done.append(item)

    assert await for_each(range(6), work) == Overspend(spent=1.5, cap=2.0)
    assert done == [0, 2, 4]


async def test_another_error_is_raised_after_all_items_have_ended() -> None:
    done = []

    async def work(item: int) -> None:
        if item == 0:
            raise BudgetExceeded(spent=1.5, cap=2.0)
        if item in (1, 2):
            raise EndpointRefused(f"wrong key, item {item}")
        await asyncio.sleep(0.01)
        done.append(item)

    with pytest.raises(EndpointRefused, match="wrong key, item 1"):
        await for_each(range(5), work)
    assert done == [3, 4]


# The budget's question

SPENT = Overspend(spent=0.9, cap=1.0)


def said(*decision: dict[str, object]) -> HumanAnswer:
    return answer_schema([budget_action(SPENT)]).model_validate({"decisions": list(decision)})


def edited(dollars: object) -> HumanAnswer:
    return said({"type": "edit", "edited_action": {"name": "raise_budget", "args": {"dollars": dollars}}})


def test_the_question_proposes_twice_the_cap_and_says_what_is_spent() -> None:
    action = budget_action(SPENT)
    assert action.args == {"dollars": 2.0}
    assert "$0.9000 of $1.0000 is spent" in action.description and "$2.0000" in action.description


def test_a_cap_of_nothing_is_doubled_to_something() -> None:
    assert budget_action(Overspend(spent=0, cap=0)).args["dollars"] > 0


def test_the_answer_sets_the_cap() -> None:
    assert new_cap(said({"type": "approve"}), SPENT) == 2.0
    assert new_cap(edited(1.25), SPENT) == 1.25
    assert new_cap(edited("3.5"), SPENT) == 3.5
    assert new_cap(said({"type": "reject"}), SPENT) is None


@pytest.mark.parametrize("dollars", [1.0, 0.5, -3, 0, None, "much", [], float("nan"), "nan", "inf"])
def test_a_cap_that_pays_for_nothing_more_or_is_no_sum_is_asked_for_again(dollars: object) -> None:
    with pytest.raises(ValueError):
        new_cap(edited(dollars), SPENT)
    schema = answer_schema([budget_action(SPENT)], check=lambda answer: new_cap(answer, SPENT))
    decision = {"type": "edit", "edited_action": {"name": "raise_budget", "args": {"dollars": dollars}}}
    with pytest.raises(ValueError, match=r"the new cap must be a number of dollars above 1|its args must hold"):
        schema.model_validate({"decisions": [decision]})


# The sums of a run


def tally(rows: list[tuple[Outcome, str]]) -> Tally:
    """Count rows as the database groups them: by outcome and the kind of the reason."""
    counter = RowTally("candidates")
    for (outcome, kind), count in Counter((outcome, reason_kind(reason)) for outcome, reason in rows).items():
        counter.add(outcome, kind, count)
    return counter.result()


@given(st.lists(st.tuples(st.sampled_from(list(Outcome)), st.sampled_from(["alike: 0.8", "alike: 0.9", "short"]))))
def test_a_tally_counts_every_row_once_and_reasons_by_their_head(rows: list[tuple[Outcome, str]]) -> None:
    made = tally(rows)
    assert made.adds_up and made.total == len(rows)
    assert (made.accepted, made.failed) == tuple(
        sum(o == outcome for o, _ in rows) for outcome in (Outcome.ACCEPTED, Outcome.FAILED)
    )
    heads = Counter(reason.split(":")[0] for o, reason in rows if o != Outcome.ACCEPTED)
    assert made.reasons == heads


def test_the_most_frequent_reasons_are_shown() -> None:
    rows = [(Outcome.REJECTED, f"reason {number}") for number in range(REASONS + 3) for _ in range(number + 1)]
    made = tally(rows)
    assert list(made.reasons.values()) == [*range(REASONS + 3, 3, -1), 1 + 2 + 3] and "other reasons" in made.reasons
    assert sum(made.reasons.values()) == made.total


def test_a_tally_that_lost_a_row_says_so() -> None:
    made = tally([(Outcome.ACCEPTED, "")])
    assert not made.model_copy(update={"total": 2}).adds_up


@pytest.fixture
def services(store: RecordStore, calls: CallStore, database: Database) -> Services:
    made = make_services(Settings.model_validate({"database_url": "sqlite://"}))
    return replace(made, database=database, store=store, calls=calls, batches=BatchStore(database))


async def test_the_account_of_a_run_holds_every_sample_candidate_and_call_once(
    services: Services, store: RecordStore, calls: CallStore
) -> None:
    await store.open_run("run", RunRequest(budget=Budget(dollars=2)))
    samples = [
        sample(f"{origin} {split} {outcome}", origin=origin, split=split, outcome=outcome, reasons=("so",))
        for origin in ("prompt", "generated")
        for split in ("train", "heldout")
        for outcome in Outcome
    ]
    drawn = [candidate(samples[0], f"text {o}", draw=n, outcome=o) for n, o in enumerate(Outcome)]
    await store.add("run", samples)
    await store.add("run", drawn)
    later = GenerationRound(id="b", round=2, offered=4, accepted=2, novelty=0.5, decision="stop", reason="enough")
    await store.add("run", [later, later.model_copy(update={"id": "c", "round": 1})])
    for made in (call("a"), failed_call("b")):
        await calls.put(made)
        await calls.use("run", made.key, "respond")
    sums = await account(services, "run")
    assert all(row.adds_up for row in sums.rows)
    *of_samples, of_candidates = sums.rows
    assert sum(row.total for row in of_samples) == len(samples) == sum((await store.tally("run", Sample)).values())
    assert of_candidates.total == len(drawn) == sum((await store.tally("run", Candidate)).values())
    assert [(t.purpose, t.answered, t.failed) for t in sums.calls] == [("respond", 1, 1)]
    assert [r.round for r in sums.rounds] == [1, 2]
    assert (sums.spent, sums.cap) == (0.5, 2.0)


async def test_the_account_of_a_run_that_has_done_nothing_is_empty(services: Services, store: RecordStore) -> None:
    await store.open_run("run", RunRequest())
    sums = await account(services, "run")
    assert [row.total for row in sums.rows] == [0] * len(sums.rows) and sums.calls == [] and sums.spent == 0.0

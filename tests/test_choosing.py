"""What goes to people beside what the machines could not decide, and what follows from what they say of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.review import open_tasks, outcome_after, settle_decided
from state.records import Candidate, CheckResult, Judgement, Outcome, Rating, Review, ReviewTask, Sample
from state.request import RunRequest
from state.reviewing import ReviewStore
from state.store import RecordStore
from tests.builders import NOON, candidate, judgement, review, review_task, sample
from tools.dataset.pairing import pair_all, reviewed_stars
from tools.people.auditing import audited_errors
from tools.people.choosing import check_distance, completion_task, drawn, instruction_task, why_completion
from tools.people.decisions import DECISIONS, reviews_by_row
from tools.people.settling import review_of

ASKED = sample(checks=[{"kind": "max_words", "value": 9}])
ALL = RunRequest.model_validate({"review": {"audit_share": 1.0, "human_share": 1.0}})
NONE = RunRequest.model_validate({"review": {"audit_share": 0.0}})


def judged(overall: float, *passed: bool | None, outcome: Outcome = Outcome.ACCEPTED, **changes: Any) -> Judgement:
    checks = [
        CheckResult(kind="max_words" if n == 0 else "arithmetic", passed=one, evidence="seen", dimension=dimension)
        for n, (one, dimension) in enumerate(zip(passed, ("compliance", "accuracy"), strict=False))
    ]
    return judgement(candidate(ASKED), 4, overall, outcome=outcome, checks=checks, **changes)


@pytest.mark.parametrize(
    ("overall", "passed", "distance"),
    [
        (80, (), 0.0),
        (80, (None,), 0.0),
        (80, (True,), 0.2),
        (20, (True,), 0.8),
        (80, (False,), 0.8),
        (20, (False,), 0.2),
        (30, (True, False), 0.7),
        (90, (True, False), 0.9),
        (10, (None, True), 0.0),
    ],
)
def test_a_check_is_held_against_the_judges_own_score(overall: float, passed: Any, distance: float) -> None:
    assert check_distance(ASKED, judged(overall, *passed)) == pytest.approx(distance)


def test_the_judges_own_score_is_the_one_before_the_cap() -> None:
    capped = judged(40, False)
    scores = [s.model_copy(update={"capped_from": 90.0}) for s in capped.scores]
    assert check_distance(ASKED, capped.model_copy(update={"scores": tuple(scores)})) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("request_", "outcome", "overall", "passed", "why"),
    [
        (NONE, Outcome.WAITING, 60, (True,), ("between_thresholds",)),
        (NONE, Outcome.WAITING, 80, (False,), ("between_thresholds", "checks_disagree")),
        (NONE, Outcome.WAITING, None, (), ("not_judged",)),
        (ALL, Outcome.REJECTED, 20, (True,), ("checks_disagree",)),
        (ALL, Outcome.ACCEPTED, 80, (True,), ("audit",)),
        (ALL, Outcome.REJECTED, 40, (True,), ("audit",)),
        (NONE, Outcome.ACCEPTED, 80, (True,), ()),
        (ALL, Outcome.FAILED, 0, (), ()),
    ],
)
def test_why_a_completion_goes_to_people(
    request_: RunRequest, outcome: Outcome, overall: float | None, passed: Any, why: tuple[str, ...]
) -> None:
    made = judged(overall or 0, *passed, outcome=outcome).model_copy(update={"overall": overall})
    assert why_completion(ASKED, made, request_) == why


@given(st.integers(0, 2**31 - 1), st.floats(0, 1))
def test_a_sample_has_its_share_and_follows_from_the_seed(seed: int, share: float) -> None:
    found = [drawn(seed, "audit", str(n), share) for n in range(400)]
    assert found == [drawn(seed, "audit", str(n), share) for n in range(400)]
    assert abs(sum(found) / 400 - share) < 0.13
    assert not drawn(seed, "audit", "a", 0.0) and drawn(seed, "audit", "a", 1.0)


def test_the_nearer_to_the_middle_the_less_sure_are_the_gates() -> None:
    gates = RunRequest().gates
    apart = [
        instruction_task(sample(score=score), ("audit",), NOON, gates).disagreement for score in (0.6, 0.65, 0.7, 0.9)
    ]
    assert apart == pytest.approx([0, 0.5, 1, 0])


def test_the_judges_doubt_is_disagreement_too() -> None:
    assert completion_task(ASKED, judged(60, True, confidence=0.2), ("audit",), NOON).disagreement == 0.8


async def fill(store: RecordStore) -> dict[str, Any]:
    """Write a prompt with four answers, and generated instructions; returns the rows by a name."""
    rows = {
        "good": candidate(ASKED, "The Rhine.", draw=0),
        "unsure": candidate(ASKED, "A river.", draw=1, outcome=Outcome.WAITING),
        "bad": candidate(ASKED, "No.", draw=2, outcome=Outcome.REJECTED),
        "failed": candidate(ASKED, "Err.", draw=3, outcome=Outcome.FAILED),
    }
    instructions = {
        "kept": sample("Name a lake.", origin="generated", score=0.9),
        "dropped": sample("Lake.", origin="generated", score=0.2, outcome=Outcome.REJECTED),
        "broken": sample("", origin="generated", score=0.0, outcome=Outcome.REJECTED),
        "heldout": sample("Name a sea.", origin="generated", score=0.9, split="heldout"),
    }
    await store.open_run("run", ALL)
    await store.add("run", [ASKED, *instructions.values()])
    await store.add("run", list(rows.values()))
    scores = {"good": 80.0, "unsure": 60.0, "bad": 40.0, "failed": 0.0}
    await store.add("run", [judgement(rows[name], 4 if name == "good" else 3, scores[name]) for name in rows])
    return rows | instructions


async def test_each_kind_of_item_is_found_and_says_why(store: RecordStore) -> None:
    rows, people = await fill(store), ReviewStore(store.database)
    await open_tasks(store, people, "run", ALL, NOON)
    tasks = await people.tasks("run")
    assert [task.position for task in tasks] == list(range(6))
    assert tasks[0].id == rows["unsure"].id and tasks[0].why == ("between_thresholds",)
    audited = {task.id for task in tasks if task.why == ("audit",)}
    assert audited == {rows[name].id for name in ("good", "bad", "kept", "dropped")}
    (pair,) = (task for task in tasks if task.kind == "pair")
    assert set(pair.candidates) == {rows["good"].id, rows["bad"].id} and pair.why == ("human_share",)
    await open_tasks(store, people, "run", NONE, NOON)
    assert await people.tasks("run") == tasks, "what goes to people is chosen once"


async def test_what_people_say_takes_the_place_of_what_machines_said(store: RecordStore) -> None:
    rows, people = await fill(store), ReviewStore(store.database)
    await open_tasks(store, people, "run", ALL, NOON)
    tasks = {task.id: task for task in await people.tasks("run")}
    (pair,) = (task for task in tasks.values() if task.kind == "pair")
    better = "prefer_a" if pair.candidates[0] == rows["bad"].id else "prefer_b"
    said = {
        rows["kept"].id: ("reject", {}),
        rows["dropped"].id: ("approve", {}),
        rows["unsure"].id: ("approve", {"overall": 5}),
        rows["good"].id: ("cannot_judge", {}),
        pair.id: (better, {}),
    }
    ratings = [
        Rating.model_validate({"item_id": id_, "rater": "ada", "decision": one, "ratings": stars, "decided_at": NOON})
        for id_, (one, stars) in said.items()
    ]
    await people.rate("run", ratings, lambda task, given: review_of(task, given, 1))
    await settle_decided(store, people, "run")
    outcomes = {row.id: row.outcome for kind in (Sample, Candidate) for row in await store.find("run", kind)}
    expected = {"kept": "rejected", "dropped": "accepted", "unsure": "accepted", "bad": "accepted", "good": "rejected"}
    assert {name: outcomes[rows[name].id] for name in expected} == expected
    assert await people.count("run", "settled") == 5 and await people.count("run", "open") == 1
    candidates, judgements = await store.find("run", Candidate), await store.find("run", Judgement)
    kept = await store.find("run", Review)
    (made,) = pair_all([ASKED], candidates, judgements, kept, ALL.train, [pair])
    assert [(r.candidate.id, r.stars, r.decider, r.reviewer) for r in made.imitated] == [
        (rows["unsure"].id, 5, "person", "ada"),
        (rows["bad"].id, 4, "person", "ada"),
    ]
    assert made.imitated[0].ratings == {"overall": 5}
    assert made.rejected is not None and made.rejected.candidate.id == rows["good"].id
    wrong = {error.kind: (error.checked, error.wrong) for error in audited_errors(await people.audited("run"), kept)}
    assert wrong == {"instruction": (2, 2)}


def pair_of(preferred: str) -> tuple[ReviewTask, Review]:
    task = review_task(candidate(ASKED), id="p", kind="pair", candidates=("one", "two"))
    return task, review("p", preferred, kind="pair")


def test_a_review_of_the_answer_itself_counts_before_one_of_its_pair() -> None:
    task, said = pair_of("prefer_b")
    own = review("two", "reject")
    assert {id_: r.decision for id_, r in reviews_by_row([said], [task]).items()} == {
        "one": "reject", "two": "approve", "p": "prefer_b",
    }  # fmt: skip
    assert reviews_by_row([own, said], [task])["two"] == own
    assert set(reviews_by_row([review("p", "cannot_judge")], [task])) == {"p"}


@pytest.mark.parametrize("machine", [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.WAITING])
@pytest.mark.parametrize("decision", DECISIONS)
def test_every_decision_has_an_outcome(decision: str, machine: Outcome) -> None:
    found = [outcome_after(review("x", decision), machine, rank) for rank in (0, 1)]
    match decision:
        case "approve":
            assert found == [Outcome.ACCEPTED] * 2
        case "edit" | "reject":
            assert found == [Outcome.REJECTED] * 2
        case "prefer_a" | "prefer_b":
            assert set(found) == {Outcome.ACCEPTED, Outcome.REJECTED}
            assert (found[0] == Outcome.ACCEPTED) == (decision == "prefer_a")
        case _:
            assert found == [Outcome.REJECTED if machine == Outcome.WAITING else None] * 2


@given(st.integers(1, 5), st.integers(1, 5))
def test_a_persons_stars_take_the_place_of_the_judges(judges: int, own: int) -> None:
    assert reviewed_stars(judges, Outcome.ACCEPTED, own) == max(own, 4)
    assert reviewed_stars(judges, Outcome.REJECTED, own) == min(own, 2)


def test_the_machines_error_has_its_interval() -> None:
    tasks = [review_task(candidate(ASKED, str(n)), why=("audit",), machine=Outcome.ACCEPTED) for n in range(20)]
    reviews = [review(task.id, "reject" if n < 2 else "approve") for n, task in enumerate(tasks[:-1])]
    (error,) = audited_errors(tasks, [*reviews, review(tasks[-1].id, "cannot_judge")])
    assert (error.checked, error.wrong) == (19, 2)
    assert error.low < 2 / 19 < error.high and "2 of 19" in error.in_words
    assert audited_errors(tasks, []) == ()

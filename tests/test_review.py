"""The review: what is asked, what an answer becomes, and the rows that follow from it, over both databases."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nodes.approve import POLICY, apply_approval, approval_action, make_approve, unattended_approval, verdict_in_words
from nodes.review import borderline_items, edited_candidate, make_review, rows_after, settle, unattended_answer
from state.pipeline import AdapterRef
from state.records import Candidate, CheckResult, Judgement, Outcome, Record, Review, Sample
from state.request import RunRequest
from state.store import RecordStore
from tests.builders import NOON, candidate, judgement, sample, verdict
from tools.people.asking import apply_review, described, review_actions
from tools.people.choosing import completion_task, instruction_task
from tools.people.decisions import reviewer_in
from tools.people.items import Item
from tools.people.questions import HumanAnswer, answer_schema, question

REQUEST = RunRequest()
WAITING = {"outcome": Outcome.WAITING}


def instruction(text: str = "Name a river.", score: float = 0.65) -> Item:
    made = sample(text, origin="generated", score=score, reasons=("rather short", "few words"), **WAITING)
    return Item(task=instruction_task(made, ("between_thresholds",), NOON, REQUEST.gates), sample=made)


def completion(overall: float = 60.0, text: str = "The Rhine.", draw: int = 0) -> Item:
    made = candidate(sample(), text, draw=draw, **WAITING)
    judged = judgement(made, 3, overall)
    task = completion_task(sample(), judged, ("between_thresholds",), NOON)
    return Item(task=task, sample=sample(), candidates=(made,), judgements=(judged,))


def answer(*decisions: dict[str, Any] | str, reviewer: str = "ada", items: Sequence[Item] = ()) -> HumanAnswer:
    full = [{"type": d} if isinstance(d, str) else d for d in decisions]
    schema = answer_schema(review_actions(items or [completion()] * len(full), REQUEST))
    return schema.model_validate({"decisions": full, "reviewer": reviewer})


def edit(**args: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": "review_completion", "args": args}}


def decide(item: Item, decision: dict[str, Any] | str) -> Review:
    (made,) = apply_review([item], answer(decision, items=[item]), NOON)
    return made


# What a person is asked


def test_a_completion_is_shown_with_its_scores_checks_and_thresholds() -> None:
    item = completion()
    assert item.judgement is not None
    checks = (
        CheckResult(kind="max_words", passed=True, evidence="2 words, at most 9 asked"),
        CheckResult(kind="arithmetic", passed=None, evidence="no sums"),
    )
    shown = item.model_copy(update={"judgements": (item.judgement.model_copy(update={"checks": checks}),)})
    (action,) = review_actions([shown], REQUEST)
    assert action.name == "review_completion" and action.allowed[:3] == ("approve", "edit", "reject")
    assert action.args == {"prompt": item.sample.prompt, "completion": "The Rhine.", "comment": "", "ratings": ""}
    assert "The judge gave 60 of 100, between 55 and 70, and 3 stars (confidence 0.50)" in action.description
    assert "accuracy 60" in action.description and "actionability 60" in action.description
    assert "max_words: 2 words, at most 9 asked" in action.description and "no sums" not in action.description


def test_an_instruction_is_shown_with_the_gates_reasons() -> None:
    (action,) = review_actions([instruction()], REQUEST)
    assert action.name == "review_instruction"
    assert action.args == {"instruction": "Name a river.", "input": "", "output": "", "comment": "", "ratings": ""}
    assert action.description == "The gates gave 0.65, between 0.6 and 0.8: rather short; few words"


# What an answer becomes


def test_each_decision_becomes_a_review_of_its_item() -> None:
    items = [completion(draw=0), instruction(), completion(draw=1)]
    given_ = answer("approve", {"type": "reject", "message": "dull"}, edit(completion="Rhine!", comment="livelier"))
    made = apply_review(items, given_, NOON)
    assert [r.item_id for r in made] == [item.id for item in items]
    assert [(r.kind, r.decision, r.text, r.comment) for r in made] == [
        ("completion", "approve", "", ""),
        ("instruction", "reject", "", "dull"),
        ("completion", "edit", "Rhine!", "livelier"),
    ]
    assert {(r.reviewer, r.decided_at) for r in made} == {("ada", NOON)}
    assert len({r.id for r in made}) == 3


def test_an_instructions_own_text_is_what_an_edit_changes() -> None:
    made = decide(instruction(), edit(instruction="Name a long river.", completion="not asked"))
    assert (made.decision, made.text) == ("edit", "Name a long river.")


@pytest.mark.parametrize("args", [{"completion": "The Rhine."}, {"completion": "  The Rhine.\n", "prompt": "x"}])
def test_an_edit_without_a_changed_text_is_an_approval(args: dict[str, Any]) -> None:
    made = decide(completion(), edit(comment="fine", **args))
    assert (made.decision, made.text, made.comment) == ("approve", "", "fine")


BLANK: list[dict[str, Any]] = [
    {},
    {"text": "Mine."},
    {"completion": None},
    {"completion": ["a"]},
    {"completion": " \n"},
]


@pytest.mark.parametrize("args", BLANK)
def test_an_edit_without_its_text_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="completion"):
        decide(completion(), edit(**args))


def test_deciding_the_same_item_again_gives_the_same_row_id() -> None:
    assert decide(completion(), "approve").id == decide(completion(), "reject").id


# What an unattended run decides


@pytest.mark.parametrize(
    ("policy", "overall", "decision"),
    [
        ("reject", 69.9, "reject"),
        ("approve", 55.0, "approve"),
        ("midpoint", 62.5, "approve"),
        ("midpoint", 62.4, "reject"),
    ],
)
def test_the_policy_decides_and_its_name_stands_as_the_reviewer(policy: str, overall: float, decision: str) -> None:
    request = RunRequest.model_validate({"review": {"unattended": policy}})
    items = [completion(overall)]
    decided = unattended_answer(items, request)
    (made,) = apply_review(items, decided, NOON)
    assert (made.decision, made.reviewer, made.comment) == (
        decision,
        f"policy:{policy}",
        f"unattended, score {overall:g}, 3 stars",
    )


@pytest.mark.parametrize("policy", ["midpoint", "approve"])
def test_no_policy_approves_what_the_expert_gave_two_stars(policy: str) -> None:
    """An answer off the topic has two stars at most, however clear its words are."""
    request = RunRequest.model_validate({"review": {"unattended": policy}})
    item = completion(69.9)
    assert item.judgement is not None
    off_topic = item.model_copy(update={"judgements": (item.judgement.model_copy(update={"stars": 2}),)})
    answer = unattended_answer([item, off_topic], request)
    assert [decision.type for decision in answer.decisions] == ["approve", "reject"]


def test_what_nothing_can_judge_says_so_to_a_person_and_where_a_policy_leaves_it_out() -> None:
    item = completion()
    assert item.judgement is not None
    unjudged = {"scores": (), "overall": None, "stars": None, "reasons": ("nothing can judge it: no check",)}
    judged = item.judgement.model_copy(update=unjudged)
    item = item.model_copy(update={"judgements": (judged,)})
    assert described(item, REQUEST) == "It has no score: nothing can judge it: no check.\nChecks: none apply"
    (made,) = apply_review([item], unattended_answer([item], REQUEST), NOON)
    (row,) = rows_after(item, made, ())
    assert row.outcome == Outcome.REJECTED and row.reasons[0] == "nothing can judge it: no check"
    assert reviewer_in(row.reasons[1]) == "policy:midpoint"
    (own,) = rows_after(item, made.model_copy(update={"reviewer": "ada", "comment": ""}), ())
    assert own.reasons == ("reject by ada",)


def test_an_instruction_has_its_own_midpoint() -> None:
    items = [instruction(score=0.71), instruction("Name a lake.", score=0.69)]
    assert [d.type for d in unattended_answer(items, REQUEST).decisions] == ["approve", "reject"]


@given(st.lists(st.floats(0, 100), max_size=5), st.sampled_from(["reject", "midpoint", "approve"]))
def test_every_item_of_an_unattended_run_is_decided(scores: list[float], policy: str) -> None:
    request = RunRequest.model_validate({"review": {"unattended": policy}})
    items = [completion(score, draw=number) for number, score in enumerate(scores)]
    made = apply_review(items, unattended_answer(items, request), NOON)
    assert [r.item_id for r in made] == [item.id for item in items]
    assert all(r.reviewer == f"policy:{policy}" and r.decision in ("approve", "reject") for r in made)


# The rows that follow


async def fill(store: RecordStore, items: Sequence[Item]) -> None:
    kinds: dict[type[Record], list[Record]] = {Sample: [], Candidate: [], Judgement: []}
    for item in items:
        for record in filter(None, (item.sample, *item.candidates, *item.judgements)):
            kinds[type(record)].append(record)
    for records in kinds.values():
        await store.add("run", records)


async def decided(store: RecordStore, item: Item, decision: dict[str, Any] | str) -> None:
    await settle(store, "run", [item], [decide(item, decision)])


def known(item: Item) -> tuple[Any, ...]:
    return item.id, item.sample, item.candidates, item.judgements


async def test_what_waits_is_found_with_what_is_known_of_it(store: RecordStore) -> None:
    items = [instruction(), completion(draw=0), completion(draw=1)]
    await fill(store, items)
    await store.add("run", [sample("Accepted."), sample("Refused.", outcome=Outcome.REJECTED)])
    found = await borderline_items(store, "run", REQUEST, 0, 100, NOON)
    assert known(found[0]) == known(items[0])
    assert sorted(map(known, found[1:]), key=str) == sorted(map(known, items[1:]), key=str)
    assert await borderline_items(store, "other", REQUEST, 0, 100, NOON) == []


async def test_pages_follow_each_other_whatever_is_decided_between_them(store: RecordStore) -> None:
    items = [*(instruction(f"Name river {n}.") for n in range(4)), *(completion(draw=n) for n in range(5))]
    await fill(store, items)
    at_once = await borderline_items(store, "run", REQUEST, 0, 100, NOON)
    shown = []
    for start in range(0, 12, 2):
        page = await borderline_items(store, "run", REQUEST, start, 2, NOON)
        shown += page
        await settle(store, "run", page, apply_review(page, answer(*["reject"] * len(page), items=page), NOON))
    assert shown == at_once and len(shown) == await store.count_borderline("run") == 9


async def test_an_approved_completion_is_accepted_and_a_rejected_one_rejected(store: RecordStore) -> None:
    good, bad = completion(draw=0), completion(draw=1)
    await fill(store, [good, bad])
    reviews = apply_review([good, bad], answer("approve", {"type": "reject", "message": "dull"}), NOON)
    await settle(store, "run", [good, bad], reviews)
    found = {c.id: (c.outcome, c.reasons) for c in await store.find("run", Candidate)}
    assert found == {
        good.id: (Outcome.ACCEPTED, ("approve by ada",)),
        bad.id: (Outcome.REJECTED, ("reject by ada: dull",)),
    }
    assert {r.item_id for r in await store.find("run", Review)} == {good.id, bad.id}
    assert [item.id for item in await borderline_items(store, "run", REQUEST, 0, 100, NOON)] == sorted(
        [good.id, bad.id]
    )


async def test_an_edited_completion_stands_beside_the_models_which_is_rejected(store: RecordStore) -> None:
    item = completion()
    await fill(store, [item])
    await decided(store, item, edit(completion="The Rhine, in full.", comment="fuller"))
    rows = {c.provenance: c for c in await store.find("run", Candidate)}
    assert (rows["sampled"].outcome, rows["sampled"].text) == (Outcome.REJECTED, "The Rhine.")
    own = rows["edited"]
    assert (own.outcome, own.text, own.ended, own.sample_id) == (
        Outcome.ACCEPTED,
        "The Rhine, in full.",
        True,
        item.sample.id,
    )
    assert own.reasons == ("edit by ada: fuller",)
    assert own == edited_candidate(
        item.candidates[0], decide(item, edit(completion="The Rhine, in full.")), own.reasons
    )


@pytest.mark.parametrize(
    ("decision", "outcome", "text"),
    [
        ("approve", Outcome.ACCEPTED, "Name a river."),
        ("reject", Outcome.REJECTED, "Name a river."),
        (edit(instruction="Name a lake."), Outcome.ACCEPTED, "Name a lake."),
    ],
)
async def test_an_instruction_is_kept_edited_or_rejected(
    store: RecordStore, decision: dict[str, Any] | str, outcome: Outcome, text: str
) -> None:
    item = instruction()
    await fill(store, [item])
    await decided(store, item, decision)
    found = await store.find("run", Sample)
    last = next(row for row in found if row.instruction == text)
    assert (last.outcome, last.output) == (outcome, item.sample.output)
    assert [row.id for row in found if row.outcome != Outcome.REJECTED or row is last] == [last.id]
    assert (last.id == item.id) == (text == item.sample.instruction)
    assert last.reasons[0].endswith(" by ada")


async def test_a_review_killed_after_it_was_written_shows_the_same_page_again(store: RecordStore) -> None:
    items = [completion(50 + number, draw=number) for number in range(4)]
    await fill(store, items)
    before = await borderline_items(store, "run", REQUEST, 0, 100, NOON)
    await decided(store, before[0], "reject")
    assert [item.id for item in await borderline_items(store, "run", REQUEST, 0, 100, NOON)] == [
        item.id for item in before
    ]


async def test_settling_again_changes_nothing(store: RecordStore) -> None:
    items = [instruction(), completion(draw=0), completion(draw=1)]
    await fill(store, items)
    reviews = apply_review(items, answer("approve", edit(completion="Mine."), "reject"), NOON)
    await settle(store, "run", items, reviews)
    before = [await store.find("run", kind) for kind in (Sample, Candidate, Review)]
    await settle(store, "run", items, reviews)
    assert [await store.find("run", kind) for kind in (Sample, Candidate, Review)] == before


@pytest.mark.parametrize("first", ["approve", "reject", edit(completion="First.")])
@pytest.mark.parametrize("second", ["approve", "reject", edit(completion="Second.")])
async def test_a_settling_that_was_killed_half_way_is_made_whole_by_the_next(
    store: RecordStore, first: dict[str, Any] | str, second: dict[str, Any] | str
) -> None:
    """The review that was written counts, whatever is answered later: rows and review never disagree."""
    item = completion()
    await fill(store, [item])
    await store.add("run", [decide(item, first)])
    await decided(store, item, second)
    (kept,) = await store.find("run", Review)
    rows = {c.provenance: c for c in await store.find("run", Candidate)}
    assert kept == decide(item, first)
    assert rows["sampled"].outcome == (Outcome.ACCEPTED if first == "approve" else Outcome.REJECTED)
    assert rows["sampled"].reasons[0].startswith(f"{kept.decision} by ada")
    assert [row.text for name, row in rows.items() if name == "edited"] == ([kept.text] if kept.text else [])


async def test_an_unattended_run_reviews_all_at_once(store: RecordStore) -> None:
    items = [instruction(), *(completion(50 + number, draw=number) for number in range(25))]
    await fill(store, items)
    request = RunRequest.model_validate({"unattended": True, "review": {"page": 10, "unattended": "midpoint"}})
    state = await make_review(store)({"run_id": "run", "request": request})
    assert state == {"reviewed": 26, "waiting": 0}
    assert len(await store.find("run", Review)) == len(items)
    outcomes = await store.tally("run", Candidate)
    assert outcomes == {("", "accepted"): 12, ("", "rejected"): 13}
    again = await make_review(store)({"run_id": "run", "request": request, "reviewed": 26})
    assert again == {"reviewed": 26, "waiting": 0}


async def test_nothing_to_review_is_no_question(store: RecordStore) -> None:
    assert await make_review(store)({"run_id": "run", "request": REQUEST}) == {"reviewed": 0, "waiting": 0}


# Signing


def test_what_is_signed_is_shown_with_its_figures_and_warnings() -> None:
    action = approval_action(verdict(), "runs/a/adapter", ["few prompts"])
    assert action.args == {"adapter": "runs/a/adapter", "scoreboard": "scoreboard.json", "verdict": "better"}
    assert action.allowed == ("approve", "reject")
    assert action.description.split("\n") == [
        "The adapter is better than its base: guarded 0.400 -> 0.600, difference +0.200 [+0.100, +0.300] "
        "over 60 held-out prompts",
        "Warning: few prompts",
    ]
    assert question([action])["review_configs"][0]["allowed_decisions"] == ["approve", "reject"]


@pytest.mark.parametrize(
    ("word", "said", "signed"),
    [
        ("better", "better than its base", True),
        ("not shown", "not shown to be better", False),
        ("worse", "worse than its base", False),
    ],
)
async def test_an_unattended_run_signs_only_what_is_better(word: str, said: str, signed: bool) -> None:
    assert said in verdict_in_words(verdict(word))
    made = unattended_approval(verdict(word), [])
    assert (made.approved, made.reviewer, made.comment) == (signed, POLICY, verdict_in_words(verdict(word)))
    assert POLICY.startswith("policy:")
    adapter = AdapterRef(id="a", folder="a")
    given_ = {"request": RunRequest(unattended=True), "verdict": verdict(word), "adapter": adapter}
    assert await make_approve()(given_) == {"approval": made}  # type: ignore[arg-type]  # the part that it reads


@pytest.mark.parametrize(
    ("flags", "perplexity", "signed", "said"),
    [
        ((), 1.04, True, ""),
        ((), None, True, ""),
        ((), 1.2, False, "its perplexity on held-out text is 1.20 times the base's"),
        (("training round-1: sft: answers repeat themselves",), 0.9, False, "answers repeat themselves"),
    ],
)
async def test_an_unattended_run_signs_nothing_that_gained_in_the_checks_alone(
    flags: tuple[str, ...], perplexity: float | None, signed: bool, said: str
) -> None:
    better = verdict("better", perplexity_ratio=perplexity)
    adapter = AdapterRef(id="a", folder="a", flags=flags)
    given_ = {"request": RunRequest(unattended=True), "verdict": better, "adapter": adapter}
    made = (await make_approve()(given_))["approval"]  # type: ignore[arg-type]  # the part that it reads
    assert made.approved is signed and said in made.comment


@pytest.mark.parametrize(("kind", "signed"), [("approve", True), ("reject", False)])
def test_a_persons_signature_is_kept_with_name_and_comment(kind: str, signed: bool) -> None:
    schema = answer_schema([approval_action(verdict(), "a", [])])
    given_ = schema.model_validate({"decisions": [{"type": kind, "message": "so be it"}], "reviewer": "ada"})
    made = apply_approval(given_)
    assert (made.approved, made.reviewer, made.comment) == (signed, "ada", "so be it")

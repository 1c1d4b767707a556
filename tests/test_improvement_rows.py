"""What people said of served answers, as rows; and which version is served to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from state.feedback import Feedback, Message, ServedAnswer
from state.pipeline import AdapterRef
from state.records import Outcome
from state.request import Training
from tests.builders import NOON, candidate, judgement, sample
from tools.dataset.pairing import pair_all
from tools.improvement.canary import close_canary, open_canary, read_canary, served_version
from tools.improvement.rows import FeedbackRows, feedback_rows, low_rated
from tools.registry import add, current, deploy, point

LONG = "Wipe it with a damp cloth and dry it well, then put it back on its shelf in the kitchen."


def served(id_: str, prompt: str = "How do I clean a kettle?", text: str = "Ask somebody else.", **changes: Any) -> Any:
    fields = {"id": id_, "version": "v1-00000000", "messages": (Message(role="user", content=prompt),), "text": text}
    return ServedAnswer.model_validate(fields | {"served_at": NOON} | changes)


def said(answer: str, stars: int | None, rater: str = "ada", corrected: str = "") -> Feedback:
    fields = {"id": f"{answer}-{rater}", "answer_id": answer, "version": "v1-00000000", "rater": rater}
    return Feedback.model_validate(fields | {"stars": stars, "corrected": corrected, "given_at": NOON})


def outcomes(rows: FeedbackRows) -> dict[str, str]:
    return {one.text: one.outcome.value for one in rows.candidates}


def test_high_rated_answers_are_approved_low_rated_ones_rejected_and_the_rest_left_out() -> None:
    answers = [served("good", text="Good."), served("bad", text="Bad."), served("so", text="So so."), served("none")]
    rows = feedback_rows(answers, [said("good", 5), said("good", 3, "bob"), said("bad", 1), said("so", 3)], [])
    assert outcomes(rows) == {"Good.": "accepted", "Bad.": "rejected"}
    assert (rows.chosen, rows.rejected, rows.undecided, rows.left_out) == (1, 1, 1, 1)
    assert [one.decision for one in rows.reviews] == ["reject", "approve"] and len(rows.samples) == 1
    assert rows.candidates[0].reasons == ("rated: 1 rater, 1.00 stars",)
    assert low_rated(rows) == rows.samples


def test_the_same_text_is_rated_by_all_whom_it_was_served_to() -> None:
    rows = feedback_rows([served("a"), served("b")], [said("a", 1), said("b", 5, "bob")], [])
    assert rows.samples == [] and rows.undecided == 2
    rows = feedback_rows([served("a"), served("b")], [said("a", 1), said("b", 2, "bob")], [])
    assert len(rows.candidates) == 1 and rows.candidates[0].reasons == ("rated: 2 raters, 1.50 stars",)


def test_a_corrected_answer_stands_for_the_served_one() -> None:
    rows = feedback_rows([served("a")], [said("a", None, corrected=LONG)], [])
    assert outcomes(rows) == {"Ask somebody else.": "rejected", LONG: "accepted"}
    assert [one.provenance for one in rows.candidates] == ["served", "edited"] and rows.corrected == 1
    liked = feedback_rows([served("a")], [said("a", 5, corrected=LONG)], [])
    assert outcomes(liked) == {LONG: "accepted"}, "liked as it was, and better so: neither good nor bad beside that"


def test_conversations_withdrawn_texts_and_held_out_prompts_give_nothing() -> None:
    turns = (Message(role="system", content="Be brief."), Message(role="user", content="Hello."))
    gone = served("gone", messages=(), text="")
    answers = [served("turns", messages=turns), gone, served("held", "How do I  CLEAN a kettle?")]
    heldout = [sample("How do I clean a kettle?", split="heldout")]
    rows = feedback_rows(answers, [said(one.id, 1) for one in answers], heldout)
    assert rows.samples == [] and (rows.several_turns, rows.heldout) == (1, 1)
    near = served("near", "How do I clean a kettle quickly?")
    assert feedback_rows([near], [said("near", 1)], heldout).heldout == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.sampled_from(["", LONG])), max_size=8))
def test_the_same_feedback_gives_the_same_rows_and_every_answer_is_accounted_for(given_: Any) -> None:
    answers = [served(str(n), prompt=f"What is {name}?", text=f"{name}!") for n, (name, _, _) in enumerate(given_)]
    feedback = [said(str(n), stars, f"r{n}", corrected) for n, (_, stars, corrected) in enumerate(given_)]
    rows = feedback_rows(answers, feedback, [])
    assert rows == feedback_rows(reversed(answers), feedback, [])
    assert {one.sample_id for one in rows.candidates} == {one.id for one in rows.samples}
    assert {one.item_id for one in rows.reviews} == {one.id for one in rows.candidates}
    assert len({one.id for one in rows.candidates}) == len(rows.candidates)


def test_people_beat_judges() -> None:
    """What a person wrote is imitated before all that judges liked, and what was rated low is rejected."""
    rows = feedback_rows([served("a", text=LONG + " No.")], [said("a", 1, corrected=LONG)], [])
    (asked,) = rows.samples
    praised = candidate(asked, LONG + " And polish it with a little oil.", draw=1)
    scolded = candidate(asked, "Do as you like with it, it is your kettle, and nobody else will ever care.", draw=2)
    judged = [judgement(praised, 5, 100.0), judgement(scolded, 2, 1.0, outcome=Outcome.REJECTED)]
    made = pair_all(rows.samples, [*rows.candidates, praised, scolded], judged, rows.reviews, Training())
    assert made[0].chosen is not None and made[0].chosen.candidate.text == LONG and made[0].chosen.decider == "person"
    assert made[0].rejected is not None and made[0].rejected.candidate.provenance == "served"
    assert made[0].rejected.reviewer == "ada"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    (tmp_path / "adapter").mkdir()
    deploy(AdapterRef(id="a" * 32, folder=str(tmp_path / "adapter")), tmp_path / "registry", {})
    add(AdapterRef(id="b" * 32, folder=str(tmp_path / "adapter")), tmp_path / "registry", {})
    return tmp_path / "registry"


def test_a_version_that_is_tried_serves_its_share_and_the_same_users(registry: Path) -> None:
    old, new = "v1-aaaaaaaa", "v2-bbbbbbbb"
    assert current(registry) == old and served_version(registry, "u") == (old, "")
    opened = open_canary(registry, new, 0.2)
    assert opened == read_canary(registry) == open_canary(registry, new, 0.2), "opened once"
    answers = [served_version(registry, f"user-{n}") for n in range(500)]
    assert {(old, "current"), (new, "canary")} == set(answers) and 70 < answers.count((new, "canary")) < 130
    assert answers == [served_version(registry, f"user-{n}") for n in range(500)]
    with pytest.raises(BadInput, match=f"version {new} is being tried already"):
        open_canary(registry, add(AdapterRef(id="c" * 32, folder=str(registry / old)), registry, {}), 0.2)
    close_canary(registry)
    assert read_canary(registry) is None and served_version(registry, "user-1") == (old, "")


def test_a_trial_ends_with_the_version_that_it_stands_against(registry: Path) -> None:
    open_canary(registry, "v2-bbbbbbbb", 0.5)
    point(registry, "v2-bbbbbbbb")
    assert read_canary(registry) is None
    assert open_canary(registry, "v2-bbbbbbbb", 0.5) is None, "it is the current one"


def test_a_trial_that_cannot_be_read_is_one_line(registry: Path) -> None:
    (registry / "canary.json").write_text('{"version": ')
    with pytest.raises(BadInput, match=r"canary\.json cannot be read .*; remove it to serve the current version alone"):
        served_version(registry, "u")
    with pytest.raises(BadInput, match="has no version 'v9-00000000'"):
        open_canary(registry, "v9-00000000", 0.5)

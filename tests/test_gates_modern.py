"""The preset ``modern``: what it lets through that ``alpaca`` stops, what it stops, and rules that are off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gates import Labelled, measure, own_rows
from graph.preflight import check_sources
from state.errors import BadInput
from state.records import Outcome, Sample
from state.request import Gates, RunRequest
from tools.gates import GATE_CLASSES, GatePipeline
from tools.gates.modern import is_link_alone, says_nothing
from tools.gates.results import reason_code
from tools.gates.safety import discusses_harm
from tools.gates.texts import broken_letters

MODERN = Gates(preset="modern")


def codes(settings: Gates, instruction: str, given_: str = "", output: str = "A fitting answer.") -> set[str]:
    sample = Sample(id="s", instruction=instruction, input=given_, output=output)
    return set(map(reason_code, GatePipeline(settings, []).judge([sample])[0].reasons))


@pytest.mark.parametrize("row", list(own_rows()), ids=lambda row: row.instruction[:40])
def test_each_labelled_row_has_its_faults_and_no_other(row: Labelled) -> None:
    found = codes(MODERN, row.instruction, row.input, row.output) - {"not_english"}
    assert found == row.faults


def test_the_preset_is_right_more_often_than_stanfords() -> None:
    rows = list(own_rows())
    ours, theirs = measure(rows, "modern"), measure(rows, "alpaca")
    assert ours.precision > theirs.precision and ours.recall > theirs.recall


def test_the_labels_of_public_rows_name_rules() -> None:
    known = {code for gate in GATE_CLASSES for code in gate.codes} | {"profanity", "personal_data"}
    labels = Path(__file__).parent / "data" / "gate_labels.jsonl"
    rows: list[dict[str, Any]] = [json.loads(line) for line in labels.read_text().splitlines()]
    assert len(rows) == 416 and {fault for row in rows for fault in row["faults"]} <= known
    assert len({(row["file"], row["row"]) for row in rows}) == 416


@pytest.mark.parametrize(
    "instruction",
    [
        "Generate two rhymes for the following word. Moon",
        "Is the following sentence true or false? Humans can breathe underwater.",
        "Explain the importance of the following term - Natural Language Processing",
        "Sort the following numbers: 3, 1, 2",
        'Analyze the given sentence: "This sentence does nothing extraordinary".',
        "Write a story using the following words (dog, bubblegum, raindrops)",
        "Create a function that checks whether the given string is a palindrome.",
        "Write a joke about cats in the box below.",
        "Rewrite the text below.\nIt rains.",
    ],
)
def test_what_is_pointed_at_is_there(instruction: str) -> None:
    assert "missing_input" not in codes(MODERN, instruction)


@pytest.mark.parametrize(
    "instruction",
    [
        "Summarize the following article.",
        "Analyze the following painting and describe its elements in three sentences.",
        "Convert the following US Dollar amount to Indian Rupee.",
        "Which of the following is a mammal? Output the name.",
        "Revise the given paragraph for clarity and brevity.",
        "Write a caption for this photo.",
        "Write a short story based on the following prompt:",
        "Translate the sentences below into German.",
    ],
)
def test_what_is_pointed_at_is_missing(instruction: str) -> None:
    assert "missing_input" in codes(MODERN, instruction)


@pytest.mark.parametrize("text", ["https://a.org/x", "Link: www.a.org", "<https://a.org>", "[http://a.org/b?c=d]"])
def test_an_address_alone_is_a_link(text: str) -> None:
    assert is_link_alone(text) and not is_link_alone(f"{text} says that it rains")


@pytest.mark.parametrize("text", ["N/A", "n/a.", "nan", "null", "{}", "[]", "-", "...", "`null`", "Not applicable."])
def test_an_output_that_says_nothing(text: str) -> None:
    assert says_nothing(text) and "placeholder_output" in codes(MODERN, "Name the capital of France.", output=text)


@pytest.mark.parametrize("text", ["0", "No.", "None of them.", "nanometre", "{a: 1}", "x", "42"])
def test_a_short_output_says_something(text: str) -> None:
    assert not says_nothing(text)


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=50))
def test_ascii_has_no_broken_letters(text: str) -> None:
    assert broken_letters(text) is None


@pytest.mark.parametrize("text", ["cafÃ©", "itâ€™s", "Ð½Ð°Ð¸Ð²Ð½Ñ‹Ð¹", "lost \ufffd letter", "schÃ¶n"])  # noqa: RUF001  # what a wrong encoding makes
def test_letters_of_a_wrong_encoding(text: str) -> None:
    assert broken_letters(text)


@pytest.mark.parametrize("text", ["naïve café", "Größe", "наивный", "日本語", "“quoted” – and…", "€ 5, 20 °C"])  # noqa: RUF001  # a dash
def test_letters_of_the_right_encoding(text: str) -> None:
    assert broken_letters(text) is None


def test_a_row_about_insults_may_quote_one() -> None:
    row = ("Detect the stereotype in the sentence.", "Women are not able to park a car.")
    assert "stereotype" in codes(Gates(), *row) and "stereotype" not in codes(MODERN, *row)
    assert discusses_harm("Why is this tweet offensive?") and not discusses_harm("Write a rude tweet about women.")


def test_each_rule_can_be_off() -> None:
    row = ("Suggest three names for a music shop in town.", "", "Strings, Notes, Chorus.")
    assert codes(Gates(), *row) == {"keyword"} and codes(Gates(off=("keyword",)), *row) == set()
    sample = Sample(id="s", instruction=row[0], output=row[2])
    assert GatePipeline(Gates(off=("too_similar",)), [row[0]]).judge([sample])[0].outcome is Outcome.REJECTED
    assert GatePipeline(Gates(off=("too_similar", "keyword")), [row[0]]).judge([sample])[0].outcome is Outcome.ACCEPTED


def test_a_rule_that_is_none_cannot_be_off() -> None:
    with pytest.raises(BadInput, match=r"gates\.off: 'keywords' is no rule; did you mean 'keyword'\?"):
        GatePipeline(Gates(off=("keywords",)), [])


def test_such_a_rule_is_refused_before_a_run_spends_anything() -> None:
    with pytest.raises(BadInput, match="'keywords' is no rule"):
        check_sources(RunRequest(gates=Gates(off=("keywords",))))
    check_sources(RunRequest(gates=Gates(off=("keyword", "profanity"))))

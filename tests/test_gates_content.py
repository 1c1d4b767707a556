"""Every content rule has its own code, and fires at its own limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.records import Sample
from tools.gates.content import ContentGate, content_issues
from tools.gates.results import Severity

SEEDS = Path(__file__).resolve().parents[1] / "seeds" / "seed_tasks.jsonl"


def codes(instruction: str = "Name three large rivers.", given: str = "", output: str = "Elbe") -> list[str]:
    sample = Sample(id="s", instruction=instruction, input=given, output=output)
    found = [issue.code for issue in content_issues(sample)]
    assert set(found) <= set(ContentGate.codes)
    return found


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Name three rivers", ["too_few_words"]),
        ("Name three large rivers", []),
        (" ".join(["ab"] * 150), []),
        (" ".join(["ab"] * 151), ["too_many_words"]),
        ("a b c d", ["too_few_characters"]),
        ("a b c d ef", []),
        ("Name three large " + "r" * 483, []),
        ("Name three large " + "r" * 484, ["too_many_characters"]),
        ("Describe this image in detail", ["keyword"]),
        ("Describe these IMAGES in detail", ["keyword"]),
        ("Imagine a day on the moon", []),
        ("Summarise the next paragraph in brief", []),
        ("Describe the graph in one line", ["keyword"]),
        ("Draw a house with a door", ["keyword"]),
        ("Name what makes withdrawing hard today", []),
        ("Go to the shop and buy milk", ["keyword"]),
        ("Go  to the shop and buy milk", ["keyword"]),
        ("Let the cargo to Spain be late", []),
        ("Write about music of the sixties", ["keyword"]),
        ("Write about musical theatre of London", []),
        ("Make a flowchart of the process", ["keyword"]),
        ("Explain what a roadmap is for", []),
        ("Show the map of old Rome", ["keyword"]),
        ("Explain the plotting of a crime novel", []),
        ("Write a program that sorts numbers", ["write_a_program"]),
        ("  write a PROGRAM that sorts numbers", ["write_a_program"]),
        ("Write a programme for the school concert", []),
        ("Do not write a program but explain", []),
        ("(Optional) name three large rivers", ["starts_with_punctuation"]),
        ("- Name three large rivers", ["starts_with_punctuation"]),
        ("Élan vital is what, briefly?", ["starts_not_ascii"]),
        ("“Carpe diem” means what in English?", ["starts_not_ascii"]),
        ("4 plus 5 makes what?", []),
        ("", ["too_few_words", "too_few_characters"]),
        ("   \n ", ["too_few_words", "too_few_characters"]),
    ],
)
def test_rules_on_the_instruction(instruction: str, expected: list[str]) -> None:
    assert codes(instruction) == expected


@pytest.mark.parametrize(
    "given",
    [
        "noinput",
        "<noinput>",
        "< NoInput >",
        "No input.",
        "no input required",
        "(No Input)",
        "N/A",
        "<none>",
        "\\<noinput\\>",
        "He was <noinput>",
        "Joe Smith\n<noinput>",
        "<no input> 8",
        "<noinputs>",
    ],
)
def test_an_input_that_says_there_is_none(given: str) -> None:
    assert codes(given=given) == ["noinput_left"]


@pytest.mark.parametrize(
    "given", ["", "no input shaft turns", "Norway", "I know nothing", "a noinputter", "none of it fits"]
)
def test_an_input_that_is_one(given: str) -> None:
    assert codes(given=given) == []


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", ["empty_output"]),
        (" \n\t", ["empty_output"]),
        ("4", []),
        ("n/a", []),
        ("None", []),
        ("<noinput>", ["placeholder_output"]),
        ("o" * 8000, []),
        ("o" * 8001, ["output_too_long"]),
    ],
)
def test_rules_on_the_output(output: str, expected: list[str]) -> None:
    assert codes(output=output) == expected


def test_a_given_prompt_needs_no_output() -> None:
    assert content_issues(Sample(id="s", instruction="Name three large rivers.", origin="prompt")) == []


def test_every_seed_passes() -> None:
    for line in SEEDS.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            task = json.loads(line)
            instance = task["instances"][0]
            assert codes(task["instruction"], instance["input"], instance["output"]) == [], task["instruction"]


@given(st.text(), st.text(), st.text())
def test_any_text_gives_critical_issues_or_none(instruction: str, given_: str, output: str) -> None:
    issues = content_issues(Sample(id="s", instruction=instruction, input=given_, output=output))
    assert all(issue.severity is Severity.CRITICAL for issue in issues)
    assert len({issue.code for issue in issues}) == len(issues)

"""What does not fit together in a row is found, and what does is left alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.records import Sample
from tools.gates.coherence import CoherenceGate, coherence_issues
from tools.gates.language import other_language
from tools.gates.texts import repeated_share

SEEDS = Path(__file__).resolve().parents[1] / "seeds" / "seed_tasks.jsonl"


def codes(instruction: str, given: str = "", output: str = "A fitting answer.") -> list[str]:
    found = [
        issue.code for issue in coherence_issues(Sample(id="s", instruction=instruction, input=given, output=output))
    ]
    assert set(found) <= set(CoherenceGate.codes)
    return found


@pytest.mark.parametrize(
    ("instruction", "given", "output", "expected"),
    [
        ("Summarise the following article.", "", "It is about tea.", ["missing_input"]),
        ("Edit this sentence for clarity.", "", "It is clear now.", ["missing_input"]),
        ('Edit this sentence: "He go home."', "", "He goes home.", []),
        ("Sort the following numbers: 3, 1, 2", "", "1, 2, 3", []),
        ("Describe the logo below.", "<your logo>", "It is round.", ["placeholder_input"]),
        ("Describe the logo.", "[Image of a logo]", "It is round.", ["placeholder_input"]),
        ("Recommend a restaurant nearby.", "<location>", "The Swan.", ["placeholder_input"]),
        ("Answer the letter.", "Dear [insert name], how are you?", "I am well.", ["placeholder_input"]),
        ("Sum the list.", "[1, 2, 3]", "6", []),
        ("Name the tag.", "<p>text</p>", "A paragraph.", []),
        ("Name three fruits.", "name three fruits", "Apple, pear, plum.", ["input_is_instruction"]),
        ("Fix the errors.", "He go to the shop now.", "He go to the shop now.", ["output_is_input"]),
        ("Name three fruits.", "", "Name three fruits", ["output_is_instruction"]),
        ("Design a logo for a bank.", "", "<nooutput>", ["placeholder_output"]),
        ("Name the tallest mountain.", "", "I'm sorry, but I cannot help with that.", ["refusal"]),
        ("Name the tallest mountain.", "", "As an AI language model, I do not have eyes.", ["refusal"]),
        ("Write an apology for lateness.", "", "I apologize for being late to our meeting.", []),
        ("Answer the worried customer.", "", "I'm sorry to hear that. Let me look into it.", []),
        ("Fix my grammar, would you?", "", "Please provide the text you want fixed.", ["asks_for_input"]),
        ("Name the tallest mountain.", "", "Everest.\n\n12. Instruction: Name a lake.", ["next_task_left"]),
        ("Write a long note.", "", "We like tea and cake. " * 8, ["repetition"]),
        ("Name a river in Poland.", "", "Ce\ufffdky", ["broken_letters"]),
        ("Name a caf\u00c3\u00a9 in Paris.", "", "Le Dome.", ["broken_letters"]),
        (
            "Summarise the text.",
            "Bees make honey from nectar and store it in combs.",
            "Most rockets burn liquid oxygen together with kerosene.",
            ["unrelated_output"],
        ),
    ],
)
def test_each_rule(instruction: str, given: str, output: str, expected: list[str]) -> None:
    assert codes(instruction, given, output) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Nenne drei europäische Hauptstädte mit ihrer Einwohnerzahl.",
        "Donnez trois exemples de fruits rouges.",
        "Escribe un cuento corto sobre el mar.",
        "Schrijf een kort gedicht over de zee.",
        "Napisz krótką historię o morzu i statku",
        "Napiši kratku priču o moru i brodu.",
        "Kirjoita lyhyt tarina merestä ja laivasta.",
        "Escriu un conte curt sobre el mar.",
        "Напиши короткий рассказ про море",
        "写一个关于大海的短篇故事",
        "اكتب قصة قصيرة عن البحر",
    ],
)
def test_other_languages_are_told(text: str) -> None:
    assert other_language(text) is not None
    assert "not_english" in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "Translate into English: «Wo ist der Bahnhof bitte?»",
        "Name three rivers",
        "2 + 2 = ?",
        "",
        "Ça va?",
        "How would you greet a friend in Japanese, as in こんにちは?",
        "Precision tune a logistic regression model",
        "Arrange books in alphabetical order",
        "Parse JSON object into Python dict",
        "Erkläre Tee, in English, please",
    ],
)
def test_english_and_what_is_too_short_are_left_alone(text: str) -> None:
    assert other_language(text) is None


def test_the_seeds_are_coherent() -> None:
    found = {}
    for line in SEEDS.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            task = json.loads(line)
            instance = task["instances"][0]
            if issues := codes(task["instruction"], instance["input"], instance["output"]):
                found[task["instruction"]] = issues
    assert found == {}


@given(st.text(max_size=200), st.integers(1, 5))
def test_the_repeated_share_is_a_share(text: str, n: int) -> None:
    assert 0 <= repeated_share(text, n) < 1
    assert repeated_share("a " * 100, n) > 0.9
    assert repeated_share(" ".join(map(str, range(50))), n) == 0


@given(st.text(max_size=120), st.text(max_size=120), st.text(max_size=120))
def test_any_text_is_judged(instruction: str, given_: str, output: str) -> None:
    codes(instruction, given_, output)


@pytest.mark.parametrize(
    "piece", ["a", "\n", " ", "# ", "[", "<", "if ", "the following ", "write a ", "1. ", "\u0130", "insert "]
)
def test_hostile_repeats_are_judged_at_once(piece: str) -> None:
    start = time.process_time()
    codes(piece * (500 // len(piece)), piece * 200_000, piece * (8000 // len(piece)))
    assert time.process_time() - start < 2

"""Rows in other languages than English: what is foreign, what repeats another, what first letters may be."""

# ruff: noqa: RUF001  # the texts are in other scripts
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer, tokenizers

from state.errors import BadInput
from state.records import Answer, Outcome, Sample, content_hash
from state.request import Gates
from tools.evaluation.scoring import score_answer, script_note
from tools.gates.diversity import DiversityIndex, differ_in_numbers
from tools.gates.language import other_language
from tools.gates.pipeline import GatePipeline, demand_known_rules
from tools.gates.rouge import sees, tokens, tokens_of_any_script

TEXTS = {
    "zh": "解释为什么天空是蓝色的，并给出两个例子。",
    "ja": "なぜ空が青いのかを説明してください。",
    "ko": "하늘이 왜 파란지 설명해 주세요.",
    "th": "อธิบายว่าทำไมท้องฟ้าถึงเป็นสีฟ้า",
    "ru": "Объясните, почему небо голубое днём.",
    "el": "Εξηγήστε γιατί ο ουρανός είναι μπλε την ημέρα.",
    "da": "Forklar hvorfor himlen er blå om dagen og rød ved solnedgang.",
    "fr": "Écrivez un court poème sur la mer en hiver.",
    "es": "Explique por qué el cielo es azul durante el día y rojo al atardecer.",
    "de": "Schreibe eine kurze Geschichte über einen Hund und eine Katze.",
    "en": "Explain why the sky is blue during the day and red at sunset.",
}


def judged(language: str, *texts: str, preset: str = "alpaca") -> list[tuple[Outcome, tuple[str, ...]]]:
    gates = GatePipeline(Gates.model_validate({"language": language, "preset": preset}), [])
    rows = [Sample(id=content_hash(at, text), instruction=text, output="So.") for at, text in enumerate(texts)]
    return [(found.outcome, found.reasons) for found in gates.judge(rows)]


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("preset", ["alpaca", "modern"])
def test_rows_of_the_wanted_language_pass_and_a_repeat_does_not(language: str, preset: str) -> None:
    (first, why), (second, again) = judged(language, TEXTS[language], TEXTS[language], preset=preset)
    assert first is Outcome.ACCEPTED, why
    assert second is Outcome.REJECTED and again[0].startswith("too_similar")


@pytest.mark.parametrize("wanted", ["zh", "ru", "da"])
def test_rows_of_another_language_are_told(wanted: str) -> None:
    for language, text in TEXTS.items():
        # Danish is taken for itself alone; Han letters are Japanese, too.
        assert (other_language(text, wanted) is None) == (language == wanted), (wanted, language)


def test_any_language_takes_all() -> None:
    assert {outcome for outcome, _ in judged("any", *TEXTS.values())} == {Outcome.ACCEPTED}


def test_names_in_latin_letters_make_no_text_foreign() -> None:
    assert other_language("请用 Python 和 JavaScript 各写一个排序函数。", "zh") is None


def test_a_language_that_nobody_knows_is_refused() -> None:
    with pytest.raises(BadInput, match=r"gates\.language: 'qq'"):
        demand_known_rules(Gates(language="qq"))
    with pytest.raises(ValueError, match="language"):
        Gates(language="Danish")


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_in_ascii_both_ways_of_splitting_are_one(text: str) -> None:
    assert tokens(text) == tokens_of_any_script(text) == tokenizers.DefaultTokenizer(False).tokenize(text)


@given(st.lists(st.text("的一是不了人我在有他 ab", max_size=12), max_size=8))
def test_the_index_repeats_what_rouge_over_letters_repeats(texts: list[str]) -> None:
    class Split:
        def tokenize(self, text: str) -> list[str]:
            return tokens_of_any_script(text)

    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Split())
    index, kept = DiversityIndex(0.7, tokens_of_any_script), list[str]()
    for text in texts:
        expected = next((at for at, one in enumerate(kept) if scorer.score(one, text)["rougeL"].fmeasure > 0.7), None)
        assert index.offer(text) == expected
        if expected is None:
            kept.append(text)


def test_rouge_of_identical_texts_is_1_in_every_script_and_unchanged_in_latin() -> None:
    for text in TEXTS.values():
        sample = Sample(id="s", instruction="Say it.", output=text)
        answer = Answer(id="a", sample_id="s", model="m", text=text, ended=True)
        assert score_answer(sample, answer).metrics["rougeL"] == 1.0
    assert sees("Café au lait, s'il vous plaît.") and not sees("ουρανός") and sees("")
    blind = [Sample(id=name, instruction="Say.", output=text) for name, text in TEXTS.items()]
    assert "6 of 11 references" in script_note(blind)[0] and script_note(blind[-1:]) == []


NUMBERS = ("What is 12 plus 30 in this sum of numbers?", "What is 15 plus 61 in this sum of numbers?")


def test_questions_that_differ_in_their_numbers_are_two_for_the_modern_preset() -> None:
    assert [outcome for outcome, _ in judged("en", *NUMBERS, preset="modern")] == [Outcome.ACCEPTED] * 2
    assert judged("en", *NUMBERS)[1][0] is Outcome.REJECTED, "the default preset keeps Stanford's rule"
    assert judged("en", *NUMBERS, NUMBERS[1].upper(), preset="modern")[2][0] is Outcome.REJECTED
    assert differ_in_numbers("Add 1,5 to 2.", "add  3 to 14.") and not differ_in_numbers("Add 1.", "Add 1.")
    assert not differ_in_numbers("Add 1 apple.", "Add 2 pears.")


def test_the_command_takes_a_language(tmp_path: Path) -> None:
    from tools.gates import gate_file

    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"instruction": "{TEXTS[code]}", "output": "So."}}\n' for code in ("zh", "en")))
    report = gate_file(rows, tmp_path / "out", Gates(language="zh"))
    assert (report.accepted, report.rejected) == (1, 1) and report.reasons == {"other_language": 1}

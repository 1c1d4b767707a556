"""IFEval's kinds: what passes and what does not, as its published verifier has it; and its rows in a prompts file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from state.records import Check, CheckResult
from tools.checks import IFEVAL, KINDS, contradiction, demand, run_checks
from tools.sources.ifeval import ARGUMENTS
from tools.sources.prompts import load_prompts

ENGLISH = "this is a plain english sentence about the weather in the north of the country and its people"
GERMAN = "dies ist ein ganz gewöhnlicher deutscher Satz über das Wetter im Norden des Landes"
Arguments = dict[str, Any]
CASES: list[tuple[str, Arguments, list[str], list[str]]] = [
    ("keywords:existence", {"keywords": ["Tea", "leaf"]}, ["a TEApot of leafs"], ["tea alone", "leaf"]),
    (
        "keywords:frequency",
        {"relation": "at least", "frequency": 2, "keyword": "tea"},
        ["Tea and steam? teatea"],
        ["tea"],
    ),
    ("keywords:frequency", {"relation": "less than", "frequency": 2, "keyword": "a.b"}, ["axb axb"], ["a.b A.B"]),
    ("keywords:forbidden_words", {"forbidden_words": ["tea"]}, ["steam, teapot"], ["no Tea."]),
    ("keywords:letter_frequency", {"let_relation": "less than", "let_frequency": 2, "letter": "T"}, ["t"], ["tT"]),
    ("keywords:letter_frequency", {"let_relation": "at least", "let_frequency": 2, "letter": "#"}, ["#a #b"], ["#a"]),
    ("language:response_language", {"language": "de"}, [GERMAN, "123"], [ENGLISH]),
    (
        "length_constraints:number_sentences",
        {"relation": "at least", "num_sentences": 2},
        ["Dr. Who left. He ran!", "1. One"],
        ["Dr. Who left", "one\ntwo\nthree"],
    ),
    ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 2}, ["One."], ["One. Two."]),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na\n\n***\nb\n***"],
        ["a\n\nb", "a\n***\n***\nb", "a\n***\nb\n***\nc"],
    ),
    (
        "length_constraints:number_words",
        {"relation": "at least", "num_words": 3},
        ["it's two", "a - b_ c"],
        ["a - b_c"],
    ),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, ["one two"], ["one two three"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Weekend"},
        ["a\n\nweekend, then", "a\n\n'Weekend' is"],
        ["a\n\nweekends", "weekend\n\na", "a\n\nweekend\n\nb", "a", "a\n\n\n\nweekend", "a\n\n**weekend** b"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b]", "[][x]"], ["[a]", "[a\nb] [c]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["x\n\np. s. bye", "x P.S. y"], ["x\nPS bye"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["x\nP. P. S bye"], ["x\nP.S. bye"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "- a\n  *b", "-a\n--b\n**bold**"],
        ["* a", "* a\n* b\n* c", "1. a\n2. b"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", "Well. My answer is maybe. Bye"],
        ["My answer is yes", "my answer is no.", "yes"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "**a** *b*"],
        ["**a**", "*a\nb* ** ** *c*", "* a"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb", "Section1 Section2 Section 3"],
        ["Section 1", "SECTION 1\nSECTION 2", "Section A\nSection B"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": 1}', '```json\n{"a": 1}\n```', "```\n[1]```", "5"],
        ["{a: 1}", "x {}"],
    ),
    ("detectable_format:title", {}, ["<<Tea>>\nx", "x << tea >> y"], ["<Tea>", "<<\nTea>>", "<< >>"]),
    (
        "combination:two_responses",
        {},
        ["a\n******\nb", "******a******b"],
        ["a", "a******a", "a******b******c", "a************b"],
    ),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say Hi."}, ["say hi. Hi", "Say Hi."], ["Hi. Say Hi."]),
    ("startend:end_checker", {"end_phrase": "Bye now."}, ["So, bye NOW.", '"Bye now."'], ["Bye now. x", "Bye now"]),
    ("startend:quotation", {}, ['"a"', ' "a b" '], ['"a', "“a”", '"', "'a'"]),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        ["NASA and I", "the F-16 of the USA."],
        ["NASA only", "Nasa And Iss"],
    ),
    ("change_case:english_capital", {}, [ENGLISH.upper()], [ENGLISH, ENGLISH.upper() + " b", GERMAN.upper(), "12"]),
    ("change_case:english_lowercase", {}, [ENGLISH], [ENGLISH.capitalize(), GERMAN.lower(), "12"]),
    ("punctuation:no_comma", {}, ["a; b、c"], ["a, b"]),
]


def write(tmp_path: Path, *rows: Arguments) -> Path:
    path = tmp_path / "ifeval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(*instructions: tuple[str, Arguments | None], **fields: Any) -> Arguments:
    ids, arguments = [kind for kind, _ in instructions], [given for _, given in instructions]
    return {"key": 1, "prompt": "p", "instruction_id_list": ids, "kwargs": arguments} | fields


def check_of(tmp_path: Path, kind: str, arguments: Arguments) -> Check:
    every = dict.fromkeys((name for names in ARGUMENTS.values() for name in names), None)
    return load_prompts(write(tmp_path, row((kind, every | arguments))), 0.0)[0].checks[0]


def passed(results: tuple[CheckResult, ...]) -> list[bool | None]:
    return [result.passed for result in results]


def test_there_are_25_kinds_and_each_has_a_case() -> None:
    assert len(IFEVAL) == 25 and {kind for kind, *_ in CASES} == set(IFEVAL)
    assert set(ARGUMENTS) < set(IFEVAL) and not set(IFEVAL) & set(KINDS)
    assert all((kind in ARGUMENTS) == (IFEVAL[kind].argument != "none") for kind in IFEVAL)


@pytest.mark.parametrize(("kind", "arguments", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_a_kind_decides_as_the_published_verifier(
    tmp_path: Path, kind: str, arguments: Arguments, good: list[str], bad: list[str]
) -> None:
    check = check_of(tmp_path, kind, arguments)
    assert Check.model_validate_json(check.model_dump_json()) == check
    assert demand(check)
    for text in good:
        assert passed(run_checks([check], text)) == [True], text
    for text in [*bad, "", " \n"]:
        (result,) = run_checks([check], text)
        assert result.passed is False and result.kind == kind and result.evidence, text


def test_the_loose_forms_are_ifevals_eight_and_no_more(tmp_path: Path) -> None:
    quoted = check_of(tmp_path, "startend:quotation", {})
    forms = ['Sure:\n"a"', '"a"\nBye', 'Sure:\n"a"\nBye', '*"a"*', 'Sure\n**"a"**', '"a"**\nBye', '**\n*"a"*\n**']
    for text in forms:
        assert passed(run_checks([quoted], text)) == [False] and passed(run_checks([quoted], text, loose=True)) == [
            True
        ]
    assert passed(run_checks([quoted], 'x\ny\n"a"', loose=True)) == [False]
    fenced = '```\n"a"```'
    assert passed(run_checks([quoted, Check(kind="quoted")], fenced, loose=True)) == [False, True]


def test_the_same_kind_may_be_asked_twice(tmp_path: Path) -> None:
    kind = "change_case:capital_word_frequency"
    both = row(
        (kind, {"capital_relation": "at least", "capital_frequency": 1}),
        (kind, {"capital_relation": "less than", "capital_frequency": 3.0}),
    )
    (sample,) = load_prompts(write(tmp_path, both), 0.0)
    assert contradiction(sample.checks) is None
    assert [check.value for check in sample.checks] == [("at least", "1"), ("less than", "3")]
    assert passed(run_checks(sample.checks, "NASA and the USA of A")) == [True, False]


def test_rows_of_ifeval_are_held_out_and_stand_beside_others(tmp_path: Path) -> None:
    rows = [row(("punctuation:no_comma", {})), {"prompt": "q", "checks": [{"kind": "max_words", "value": 3}]}]
    first, second = load_prompts(write(tmp_path, *rows), 0.0)
    assert (first.instruction, first.split, second.split) == ("p", "heldout", "train")
    own = {"prompt": "p", "checks": [{"kind": "length_constraints:number_words", "value": ["at least", "3"]}]}
    assert load_prompts(write(tmp_path, own), 1.0)[0].split == "heldout"
    assert demand(Check(kind="length_constraints:number_words", value=("at least", "3"))) == "has at least 3 words"


WORDS = ("length_constraints:number_words", {"relation": "at least", "num_words": 3})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            row(("punctuation:no_commas", {})),
            "instruction 1: .*did you mean 'punctuation:no_comma'.*startend:quotation",
        ),
        (row(WORDS, ("nonsense", {})), "instruction 2: unknown id 'nonsense': The known ids are keywords:existence, "),
        (row((WORDS[0], {"relation": "at least"})), "'num_words' is missing"),
        (row((WORDS[0], None)), "'relation' is missing"),
        (row((WORDS[0], WORDS[1] | {"num_sentences": 3})), r"'num_sentences' is not one of its arguments \(relation"),
        (row(("punctuation:no_comma", {"x": 1})), r"'x' is not one of its arguments \(none\)"),
        (row((WORDS[0], WORDS[1] | {"relation": "about"})), "takes a list of relation .*'at least' or 'less than'"),
        (row((WORDS[0], WORDS[1] | {"num_words": 2.5})), "takes a list of relation"),
        (row((WORDS[0], WORDS[1] | {"num_words": 0})), "takes a list of relation"),
        (
            row(("detectable_format:number_bullet_lists", {"num_bullets": "three"})),
            "takes a whole number of at least 1",
        ),
        (row(("keywords:existence", {"keywords": [1]})), "'value'"),
        (
            row(("keywords:letter_frequency", {"let_relation": "at least", "let_frequency": 1, "letter": "ab"})),
            "letter",
        ),
        (row(("punctuation:no_comma", [])), "must be an object"),
        (row(WORDS, kwargs=[]), "two lists of the same length"),
        (row(), "two lists of the same length"),
        (row(WORDS, prompt=" "), "'prompt'"),
        (row(WORDS, prompt=None), "'prompt'"),
        (row(WORDS, answer="x"), "unknown field 'answer'"),
    ],
)
def test_a_bad_row_is_refused_in_one_line(tmp_path: Path, bad: Arguments, message: str) -> None:
    path = write(tmp_path, row(WORDS, prompt="good"), bad)
    with pytest.raises(BadInput, match=re.escape(f"{path}, line 2: ") + ".*" + message) as refused:
        load_prompts(path, 0.0)
    assert "\n" not in str(refused.value)


texts = st.text(st.sampled_from('aZ .,*#"[]<>\n-1é'), min_size=1, max_size=60).filter(str.strip)


@given(text=texts, limit=st.integers(1, 20))
def test_less_than_is_the_opposite_of_at_least(text: str, limit: int) -> None:
    for kind in ("length_constraints:number_words", "length_constraints:number_sentences"):
        pair = [Check(kind=kind, value=(relation, str(limit))) for relation in ("at least", "less than")]
        first, second = passed(run_checks(pair, text))
        assert first is not second


@given(text=texts, word=st.sampled_from("aZ#1"))
def test_a_letter_counts_in_both_cases_as_a_keyword_does(text: str, word: str) -> None:
    limit = str(max(1, text.lower().count(word.lower())))
    checks = [
        Check(kind="keywords:letter_frequency", value=("at least", limit, word)),
        Check(kind="keywords:frequency", value=("at least", limit, word)),
        Check(kind="keywords:existence", value=word),
    ]
    assert passed(run_checks(checks, text)) == [word.lower() in text.lower()] * 3


@given(text=texts)
def test_what_passes_strictly_passes_loosely_and_every_kind_decides(text: str) -> None:
    kinds = [kind for kind in IFEVAL if IFEVAL[kind].argument == "none"]
    checks = [
        *(Check(kind=kind) for kind in kinds),
        Check(kind="startend:end_checker", value=text.strip()[-3:].strip()),
    ]
    strict, loose = run_checks(checks, text), run_checks(checks, text, loose=True)
    assert all(after.passed for before, after in zip(strict, loose, strict=True) if before.passed)
    assert strict[-1].passed or '"' in text


def test_sentences_are_split_as_by_the_published_verifier_whatever_nltk_is_installed() -> None:
    """NLTK 3.8.1 finds two; 3.10 takes a curly quote for the end of one, and finds four."""
    text = "He said \u201cstop.\u201d Then he left. \u201cWhy?\u201d She asked."
    asked = [Check(kind="length_constraints:number_sentences", value=("less than", limit)) for limit in ("3", "2")]
    assert passed(run_checks(asked, text)) == [True, False]

"""Every kind of check: what passes, what fails, and the evidence."""

# ruff: noqa: RUF001 - typographic characters are what is tested

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.errors import BadInput
from state.records import Check
from tools.checks import KINDS, contradiction, demand, run_checks
from tools.checks.text import bare_words, paragraphs, sentences, without_fence, words

CASES: list[tuple[str, object, str, str]] = [
    ("max_words", 3, "one two three", "one two three four"),
    ("max_words", 4, "well-known facts don't lie", "- a b c d e"),
    ("max_words", 3, "1. salt and pepper", "salt — pepper — oil — rice"),
    ("max_words", 2, "日本", "日本語"),
    ("min_words", 3, "$1,200.50 is much", "too few"),
    ("max_sentences", 1, "Dr. Brown arrived at 5.30 p.m.", "He came. She left."),
    ("max_sentences", 2, "He came! She left?", "A. line\nAnother line\nA third one"),
    ("max_sentences", 1, "one long line that\nwraps in lower case.", "今日は。明日は。"),
    ("min_sentences", 2, "One here. Two here.", "Only one, e.g. this."),
    ("max_characters", 5, "  hello \n", "hello!"),
    ("max_characters", 4, "cafe\u0301", "coffee"),
    ("lines", 2, "first\n\nsecond", "first second"),
    ("paragraphs", 2, "one\nstill one\n\ntwo", "one\ntwo"),
    ("paragraphs", 2, "one\n***\ntwo", "one\n***\ntwo\n\nthree"),
    ("bullets", 2, "- a\n* b", "- a\n- b\n- c"),
    ("bullets", 1, "• a\n---\n**bold**", "-a"),
    ("numbered", 2, "1. a\n2) b", "1 a\n2 b"),
    ("numbered", 1, "1. in 2024. all was well", "1.5 litres"),
    ("must_include", "green tea", "I like Green\nTea.", "I like greentea"),
    ("must_include", ("sun", "sea"), "The sun, the sea!", "The sunny sea"),
    ("must_include", "C++", "I write C++.", "I write C."),
    ("must_include", "don't", "I don’t know", "I do not know"),
    ("must_include", "茶", "緑茶です", "水です"),
    ("must_avoid", "the", "other theses", "THE end"),
    ("must_avoid", ("very", "really"), "every reality", "it is really good"),
    ("starts_with", "In short", "In short, no", "In shorthand"),
    ("starts_with", "Dear reader,", "Dear reader, hello", "dear reader, hello"),
    ("ends_with", "I hope this helps.", "So be it. I hope this helps.\n", "I hope this helps. Bye"),
    ("ends_with", "end", "The end", "The weekend"),
    ("question", None, 'Who said "why?"', "Why? Because."),
    ("json", None, '{"a": [1, 2]}', '{"a": NaN}'),
    ("json", None, '```json\n{"a": 1}\n```', 'Here: {"a": 1}'),
    ("json", None, "[]", "42"),
    ("json", None, "~~~\n[1]\n~~~", "{'a': 1}"),
    ("lower_case", None, "all small, 42", "One big"),
    ("lower_case", None, "straße", "12345"),
    ("upper_case", None, "ALL BIG 42!", "NOT all"),
    ("quoted", None, '"whole"', '"half" of it'),
    ("quoted", None, "“whole”", '"'),
    ("title", None, "<<Sea Title>>\ntext", "<< >> text"),
    ("heading", None, "# Head\ntext", "#Head\ntext"),
    ("title", None, "<<A Good Day>>", "<<A Good Title>>\ntext"),
    ("heading", None, "# Good Heading Winds", "# Heading\ntext"),
    ("heading", None, "### Head", "text\n# Head"),
    ("table", None, "| a | b |\n|---|---|\n| 1 | 2 |", "a | b\nc | d"),
    ("postscript", None, "Bye\nP.S. Call me", "PSA: wash your hands"),
    ("postscript", None, "Bye\n\n**P.S.** Call", "He wrote a P.S. there"),
    ("placeholders", 2, "Dear [name], on [date]", "See [name](http://x) and [1] and [ ]"),
    ("highlights", 2, "*one* and **two**", "* one\n* two"),
    ("highlights", 1, "- an *item* here", "2 * 3 * 4"),
    ("hashtags", 2, "#fun and #run2", "#1 and x#fun and # head"),
    ("no_commas", None, "none here; at all", "one, two"),
    ("no_commas", None, "none", "一、二"),
    ("no_digits", None, "fifty-six", "56"),
]


def check(kind: str, value: object) -> Check:
    return Check.model_validate({"kind": kind, "value": value})


@pytest.mark.parametrize(("kind", "value", "good", "bad"), CASES)
def test_kinds_pass_and_fail(kind: str, value: object, good: str, bad: str) -> None:
    assert run_checks([check(kind, value)], good)[0].passed is True, good
    failed = run_checks([check(kind, value)], bad)[0]
    assert failed.passed is False, bad
    assert failed.kind == kind and failed.dimension == "compliance"
    assert failed.evidence and "\n" not in failed.evidence and len(failed.evidence) < 200


def test_every_kind_has_a_case_and_a_demand_in_words() -> None:
    assert {kind for kind, *_ in CASES} == set(KINDS)
    assert len(KINDS) >= 19
    assert demand(check("max_words", 25)) == "has at most 25 words"
    assert demand(check("bullets", 1)) == "has exactly 1 bullet point"
    assert demand(check("highlights", 2)) == "has at least 2 phrases between asterisks"
    assert demand(check("must_include", ["a", "b", "c"])) == "includes 'a', 'b' and 'c'"


def test_evidence_names_what_was_found_and_asked() -> None:
    text = "word " * 31
    assert run_checks([check("max_words", 25)], text)[0].evidence == "31 words, at most 25 asked"
    assert run_checks([check("must_avoid", "word")], text)[0].evidence == "'word' found"
    assert run_checks([check("json", None)], "no")[0].evidence == "no JSON: expecting value at line 1, column 1"
    assert run_checks([check("bullets", 2)], "- a")[0].evidence == "1 bullet point, exactly 2 asked"


@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_an_empty_text_passes_nothing(text: str) -> None:
    for kind, value, *_ in CASES:
        result = run_checks([check(kind, value)], text)[0]
        assert result.passed is False and result.evidence == "the text is empty"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("json", None, 'Sure, here it is:\n{"a": 1}'),
        ("quoted", None, 'Here you go:\n"whole"'),
        ("starts_with", "Listen", "**Listen** to this"),
        ("lower_case", None, "Sure!\nall small"),
        ("ends_with", "Bye.", "Well.\nBye.\nAnything else?"),
    ],
)
def test_the_loose_form_forgives_wrapping(kind: str, value: object, text: str) -> None:
    assert run_checks([check(kind, value)], text)[0].passed is False
    assert run_checks([check(kind, value)], text, loose=True)[0].passed is True


def test_deeply_nested_json_fails_instead_of_ending_the_process() -> None:
    result = run_checks([check("json", None)], "[" * 100_000)[0]
    assert result.passed is False and result.evidence.startswith("no JSON")


@given(st.text(max_size=300))
def test_no_text_breaks_a_checker(text: str) -> None:
    for kind, value, *_ in CASES:
        (strict,) = run_checks([check(kind, value)], text)
        (loose,) = run_checks([check(kind, value)], text, loose=True)
        assert strict.passed in (True, False)
        assert loose.passed or not strict.passed


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=60), st.integers(1, 60))
def test_word_limits_agree_with_the_number_of_words(found: list[str], limit: int) -> None:
    text = " ".join(found)
    most, least = run_checks([check("max_words", limit), check("min_words", limit)], text)
    assert most.passed is (len(found) <= limit) and least.passed is (len(found) >= limit)


@given(st.lists(st.text("abc XYZ", min_size=3).filter(lambda s: s.strip()), min_size=1, max_size=8))
def test_bullets_and_paragraphs_are_counted_as_written(items: list[str]) -> None:
    count = len(items)
    listed = "\n".join(f"- {item.strip()}" for item in items)
    assert run_checks([check("bullets", count)], listed)[0].passed
    assert run_checks([check("paragraphs", count)], "\n\n".join(item.strip() for item in items))[0].passed


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_what_json_writes_passes_as_json(value: object) -> None:
    text = json.dumps({"value": value})
    assert run_checks([check("json", None)], text)[0].passed
    assert run_checks([check("json", None)], f"```json\n{text}\n```")[0].passed


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Mr. and Mrs. Jones met J. R. Smith in the U.S. They talked.", 2),
        ("It cost 3.5 dollars. Really?", 2),
        ("Wait... what is it?", 1),
        ("He said “Stop!” and left. “Now?” she asked.", 2),
        ("1. First point\n2. Second point", 2),
        ("A heading\n\nA sentence.", 2),
        ("...", 0),
    ],
)
def test_sentences_are_counted_as_a_person_would(text: str, count: int) -> None:
    assert len(sentences(text)) == count


def test_counting_helpers() -> None:
    assert words("- one, two — three/four") == ["one,", "two", "three", "four"]
    assert bare_words('"Hello," **she** said.') == ["hello", "she", "said"]
    assert paragraphs("a\n\n\n---\nb") == ["a", "b"]
    assert without_fence("```python\nx = 1\n```") == "x = 1"
    assert without_fence("text ```x```") == "text ```x```"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("max_word", 5, "did you mean 'max_words'"),
        ("Must-Include", "a", "did you mean 'must_include'"),
        ("zzz", None, "the kinds are max_words"),
        ("max_words", "five", "takes a whole number of at least 1, not 'five'"),
        ("max_words", 0, "at least 1, not 0"),
        ("bullets", None, "takes a whole number"),
        ("json", 1, "takes no value"),
        ("starts_with", " ", "takes one phrase"),
        ("must_include", [], "one phrase or a list of phrases"),
        ("must_include", ["a", ""], "one phrase or a list of phrases"),
    ],
)
def test_a_wrong_check_is_refused_with_the_right_one(kind: str, value: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run_checks([check(kind, value)], "text")


@pytest.mark.parametrize(
    "pair",
    [
        [("min_words", 50), ("max_words", 20)],
        [("max_words", 20), ("min_words", 50)],
        [("lower_case", None), ("upper_case", None)],
        [("must_include", "green tea"), ("must_avoid", ["tea"])],
        [("must_avoid", "tea"), ("ends_with", "Have some tea.")],
        [("no_commas", None), ("starts_with", "Well, then")],
        [("lower_case", None), ("starts_with", "Dear")],
        [("no_digits", None), ("must_include", "3 eggs")],
        [("json", None), ("bullets", 3)],
        [("max_sentences", 2), ("bullets", 3)],
        [("max_words", 3), ("ends_with", "That is all I know.")],
        [("max_characters", 10), ("min_words", 10)],
        [("max_words", 5), ("max_words", 9)],
        [("lines", 2), ("numbered", 3)],
    ],
)
def test_checks_that_exclude_each_other_are_found(pair: list[tuple[str, object]]) -> None:
    reason = contradiction([check(kind, value) for kind, value in pair])
    assert reason is not None and "\n" not in reason


@pytest.mark.parametrize(
    "pair",
    [
        [("min_words", 20), ("max_words", 20)],
        [("lower_case", None), ("must_include", "Paris")],
        [("must_include", "tea"), ("must_avoid", "green tea")],
        [("must_include", "teapot"), ("must_avoid", "tea")],
        [("json", None), ("max_words", 30)],
        [("bullets", 3), ("max_sentences", 3)],
        [("must_include", "a"), ("must_include", "b")],
    ],
)
def test_checks_that_go_together_are_let_through(pair: list[tuple[str, object]]) -> None:
    assert contradiction([check(kind, value) for kind, value in pair]) is None

"""Further candidates for a prompt that no plain draw answered well: repaired texts, and examples before the prompt."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.records import Check, Sample
from tests.builders import sample
from tools.candidates import copied, fit_to_imitate, repair, scaffold
from tools.candidates.repair import topic
from tools.checks import run_checks
from tools.checks.text import bare_words

REQUEST = "Explain how bees turn nectar into honey."
DRAFT = (
    "Bees collect nectar from flowers and carry it to the hive. There, the workers pass it from mouth to mouth. "
    "Enzymes in their stomachs break the sugar down. The bees fan the wet honey with their wings until it is thick. "
    "At last they seal every cell with a thin lid of wax. A single hive may store 30 kilograms of honey in a summer. "
    "The beekeeper takes only what the bees can spare, and then the"
)
FORMS = (
    Check(kind="max_words", value=30),
    Check(kind="max_sentences", value=2),
    Check(kind="max_characters", value=200),
    Check(kind="min_words", value=40),
    Check(kind="min_sentences", value=3),
    Check(kind="bullets", value=3),
    Check(kind="numbered", value=4),
    Check(kind="lines", value=3),
    Check(kind="paragraphs", value=2),
    Check(kind="json"),
    Check(kind="quoted"),
    Check(kind="title"),
    Check(kind="heading"),
    Check(kind="postscript"),
    Check(kind="highlights", value=2),
    Check(kind="lower_case"),
    Check(kind="upper_case"),
    Check(kind="no_commas"),
    Check(kind="no_digits"),
    Check(kind="must_include", value=("wax", "hive")),
    Check(kind="must_avoid", value=("enzymes",)),
    Check(kind="starts_with", value="In short,"),
    Check(kind="ends_with", value="I hope this helps."),
)


def asked(*checks: Check) -> Sample:
    return sample(REQUEST, checks=checks)


@pytest.mark.parametrize("check", FORMS, ids=lambda check: check.kind)
def test_a_draft_that_fails_a_demand_is_put_into_its_form(check: Check) -> None:
    of = asked(check)
    text = repair(of, DRAFT)
    assert text is not None and fit_to_imitate(of, text, ended=True)
    assert "and then the" not in text.casefold(), "the sentence that was cut off is gone"


@given(
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=3, unique_by=lambda check: check.kind), st.text(max_size=200)
)
def test_whatever_comes_of_a_repair_passes_every_check(checks: list[Check], tail: str) -> None:
    of = asked(*checks)
    text = repair(of, f"{DRAFT} {tail}")
    assert text is None or (fit_to_imitate(of, text, True) and all(r.passed for r in run_checks(of.checks, text)))


@given(st.lists(st.sampled_from(FORMS), min_size=1, max_size=2, unique_by=lambda check: check.kind))
def test_a_repair_adds_no_words_but_the_prompts_and_the_dictated(checks: list[Check]) -> None:
    text = repair(asked(*checks), DRAFT)
    if text is None:
        return
    dictated = "title text P.S. " + " ".join(str(check.value) for check in checks)
    plain = " ".join(json.loads(text).values()) if text.startswith("{") else text
    assert set(bare_words(plain)) <= set(bare_words(f"{DRAFT} {REQUEST} {dictated}"))


def test_what_cannot_be_had_from_a_draft_is_no_repair() -> None:
    assert repair(asked(Check(kind="must_include", value=("volcano",))), DRAFT) is None
    assert repair(asked(Check(kind="bullets", value=12)), DRAFT) is None
    assert repair(asked(Check(kind="max_words", value=30)), "honey " * 50) is None
    assert repair(asked(Check(kind="max_words", value=30)), "") is None


def test_sentences_about_the_demand_or_the_writer_are_left_out() -> None:
    of = sample(f"{REQUEST} Put your whole answer in double quotation marks.", checks=(Check(kind="quoted"),))
    talk = "Here is the answer in double quotation marks. I'm here to help you with bees. "
    text = repair(of, talk + DRAFT)
    assert text is not None and text.startswith('"Bees collect nectar')


def test_a_dictated_phrase_stands_there_once() -> None:
    text = repair(asked(Check(kind="starts_with", value="In short,")), f"In short, {DRAFT}")
    assert text is not None and text.count("In short,") == 1


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        (f"{REQUEST} Put a title at the top, written like this: <<Title>>.", "Bees Turn Nectar into Honey"),
        (f"In 2 sentences or fewer, {REQUEST[0].lower()}{REQUEST[1:]}", "Bees Turn Nectar into Honey"),
        ("Bees", "Bees"),
    ],
)
def test_a_title_is_made_of_the_request(prompt: str, title: str) -> None:
    assert topic(prompt, DRAFT) == title


def test_a_text_that_repeats_itself_or_speaks_of_its_writer_is_not_imitated() -> None:
    of = asked(Check(kind="max_words", value=80))
    assert fit_to_imitate(of, "Bees fan the nectar until it is thick.", ended=True)
    assert not fit_to_imitate(of, "Bees fan the nectar until it is thick.", ended=False)
    assert not fit_to_imitate(of, "Bees fan it. Bees fan it. Bees fan it. Honey.", ended=True)
    assert not fit_to_imitate(of, "I'm here to help you with your bees today.", ended=True)


@pytest.mark.parametrize("check", [c for c in FORMS if c.kind != "must_include"], ids=lambda check: check.kind)
def test_the_examples_of_a_scaffold_meet_the_prompts_own_demands(check: Check) -> None:
    shown = scaffold(asked(check), draw=4)
    assert len(shown) == 2 and shown != scaffold(asked(check), draw=5)
    for _, answer in shown:
        assert all(result.passed for result in run_checks((check,), answer))


def test_the_examples_have_words_of_their_own_to_include() -> None:
    (prompt, answer), _ = scaffold(asked(Check(kind="must_include", value=("wax", "hive"))), draw=0)
    assert "includes 'umbrella' and" in prompt and "umbrella" in answer and "wax" not in prompt + answer


def test_a_text_that_speaks_of_an_example_is_known() -> None:
    assert copied(asked(), "Bees keep dry under an umbrella.")
    assert not copied(sample("Tell me about umbrellas and an umbrella stand."), "An umbrella keeps you dry.")
    assert not copied(asked(), DRAFT)

"""The guard: why a text is degenerate. A degenerate text is never chosen for training, whatever its checks say.

Optimising for verifiable checks alone teaches a small model to repeat itself and to run on. So the guard is applied
before rows are built, and in the evaluation's ``guarded`` metric.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from state.records import Sample
from tools.checks.ifeval import REPEAT_PROMPT
from tools.checks.text import bare_words, normal, sentences, straight
from tools.special_tokens import TOKEN

MIN_DISTINCT = 0.6
"""Least share of distinct 3-grams, as in the training experiment that this project started from."""
MAX_ONE_SENTENCE = 0.3
"""The largest share of a text's words that one repeated sentence may make up."""
_COPIED_WORDS = 5
"""A shared run of fewer words is not a copy of the prompt."""
MAX_ECHO, _ECHOED_WORDS = 0.4, 8
"""The largest share of a text's words that sentences out of its instruction may make up, and the fewest such words that
count. Of 9,229 real answers (Alpaca's) none is over both; an answer that takes up the question says more in the same
sentence."""
_MATERIAL = re.compile(r"\"[^\"]*\"|`[^`]*`|\n\n.*|:\s.*$|:\n.*", re.DOTALL)
"""What an instruction gives to work on: quotations, an input, what stands behind a colon. An answer may repeat it."""

_LOOP = re.compile(r"(\S.{0,14}?)\1{9,}", re.DOTALL)
"""A short piece ten times in a row. The 3-grams miss it within one long word."""
_REFUSAL = re.compile(
    r"\bas an? (?:\w+ )?(?:ai|artificial intelligence|language model)\b"
    r"|\bi(?:'m| am) (?:(?:very |so |really )?sorry|afraid),? (?:but )?(?:i|that i) "
    r"(?:can't|cannot|can not|won't|will not|am unable|am not able|'m unable|'m not able)"
    r"|\bi(?:'m| am) (?:unable|not able) to (?:help|assist|answer|provide|write|create|generate|comply|fulfill?|do)\b"
    r"|\bi (?:can't|cannot|can not|won't) "
    r"(?:help(?! but\b)|assist|answer|comply|fulfill?|provide|generate|create|do that)\b",
    re.IGNORECASE,
)
_LEFTOVER = re.compile(
    rf"{TOKEN.pattern}|###\s*(?:instruction|response|input)\b|<no(?:in|out)put>|lorem ipsum", re.IGNORECASE
)
_HEAD = 240
"""A refusal is looked for in so many characters; further on the same words may be quoted."""


def distinct_n(text: str, n: int) -> float:
    """Return the share of distinct n-grams of words among those of one text, in [0, 1].

    Where the text has none the share is 1: nothing repeats.

    Args:
        text: any text; case and punctuation do not count.
        n: words in an n-gram, at least 1.
    """
    return _distinct(bare_words(text), n)


def _distinct(words: Sequence[str], n: int) -> float:
    grams = [*zip(*(words[start:] for start in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else 1.0


NOT_ENDED = "the answer did not end by itself"
"""The reason of an answer that was cut off."""


def is_empty(text: str) -> bool:
    """Return whether nothing in a text can be read: it has no letter, digit or symbol."""
    return all(unicodedata.category(character)[0] in "ZCP" for character in straight(normal(text)))


def guard(sample_prompt: str, text: str, ended: bool) -> tuple[str, ...]:
    """Return the reasons why a completion is degenerate; none for a clean one.

    Args:
        sample_prompt: what the model was asked (``Sample.prompt``).
        text: what it answered.
        ended: whether it ended by itself, rather than at the token limit.
    """
    if is_empty(text):
        return ("the answer is empty",)
    plain = straight(normal(text))
    # The words are found once for all that look at them: that takes most of the time.
    answered, spoken = bare_words(plain), [bare_words(sentence) for sentence in sentences(plain)]
    reasons = (
        None if ended else NOT_ENDED,
        _repetition(plain, answered, spoken),
        _copy(sample_prompt, plain, answered) or _echo(sample_prompt, spoken),
        "the answer is a refusal" if _REFUSAL.search(plain[:_HEAD]) else None,
        f"'{found.group()}' is left in the answer" if (found := _LEFTOVER.search(plain)) else None,
    )
    return tuple(reason for reason in reasons if reason)


def degenerate(sample: Sample, text: str, ended: bool) -> tuple[str, ...]:
    """Return the guard's objections to an answer; repeating the prompt is no fault where the prompt asks for it."""
    repeating = any(check.kind == REPEAT_PROMPT for check in sample.checks)
    return guard("" if repeating else sample.prompt, text, ended)


def _repetition(text: str, answered: Sequence[str], spoken: Sequence[Sequence[str]]) -> str | None:
    """Return a reason where a text, of these words and these sentences of words, says the same over and over."""
    share = _distinct(answered, 3)
    if share < MIN_DISTINCT:
        return f"repetition: {share:.1%} of the 3-grams are distinct, at least {MIN_DISTINCT:.0%} asked"
    for loop in _LOOP.finditer(text):
        if any(character.isalpha() for character in loop.group(1)):
            return f"repetition: '{loop.group(1).strip()}' over and over"
    return _repeated_sentence(spoken)


def _repeated_sentence(spoken: Sequence[Sequence[str]]) -> str | None:
    """Return a reason where one sentence, said three times or more, makes up a good part of the text.

    A song's refrain makes up less.
    """
    for sentence, times in Counter(map(tuple, spoken)).items():
        share = times * len(sentence) / sum(map(len, spoken))
        if times >= 3 and len(sentence) >= 4 and share > MAX_ONE_SENTENCE:
            return f"repetition: one sentence stands there {times} times"
    return None


def _copy(prompt: str, text: str, answered: list[str]) -> str | None:
    """Return a reason where the text is half of the prompt or more, copied verbatim, or begins with all its words.

    Verbatim, since a sentence whose comma was corrected is an answer and not a copy.
    """
    asked = bare_words(prompt)
    if len(asked) >= _COPIED_WORDS and answered[: len(asked)] == asked:
        return "the answer begins with the whole prompt"
    inside = " ".join(text.casefold().split()) in " ".join(straight(normal(prompt)).casefold().split())
    if inside and len(answered) >= max(_COPIED_WORDS, len(asked) / 2):
        return "the answer is copied from the prompt"
    return None


def _echo(prompt: str, spoken: Sequence[list[str]]) -> str | None:
    """Return a reason where much of the text is sentences whose every 3-gram of words stands in the instruction."""
    known = _trigrams(bare_words(_MATERIAL.sub(" ", straight(normal(prompt)))))
    echoed = sum(len(words) for words in spoken if len(words) >= 3 and _trigrams(words) <= known)
    share = echoed / max(1, sum(map(len, spoken)))
    if echoed >= _ECHOED_WORDS and share > MAX_ECHO:
        return f"the answer repeats the prompt: {share:.0%} of its words are sentences out of the instruction"
    return None


def _trigrams(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}

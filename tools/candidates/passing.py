"""Whether a completion is good enough to imitate, by what a program can verify."""

from __future__ import annotations

import re

from state.records import Sample
from tools.checks import run_checks
from tools.checks.guard import distinct_n, guard

DISTINCT = 0.8
"""Least share of distinct 3-grams of a text to imitate: above the guard's, since a small model repeats more than it is
shown. As in the training experiment that this project started from."""
_ASIDE = re.compile(
    r"\bI(?:'m| am) (?:here to|designed|ready to|glad|happy to|SmolLM)\b|\b(?:text-based|chatbot|language model)\b"
    r"|\bplease provide\b|\byour (?:text|message) (?:is|seems)\b|https?:|www\.|\[Your Name\]|\bmy name is\b",
    re.IGNORECASE,
)
"""Talk about the conversation instead of an answer, as small models often write."""


def aside(text: str) -> bool:
    """Whether a text talks about the conversation, or its writer, instead of the subject."""
    return bool(_ASIDE.search(text))


def fit_to_imitate(sample: Sample, text: str, ended: bool) -> bool:
    """Whether every check of the prompt passes, the guard finds no fault, and the text hardly repeats itself."""
    return (
        not guard(sample.prompt, text, ended)
        and distinct_n(text, 3) >= DISTINCT
        and not aside(text)
        and all(result.passed for result in run_checks(sample.checks, text))
    )

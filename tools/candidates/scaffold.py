"""Scaffolding: examples in the asked form before a prompt when it is sampled. Training leaves them out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from state.records import Check, Sample
from tools.candidates.repair import repair
from tools.checks import demand
from tools.checks.text import bare_words

EXAMPLES = Path(__file__).with_name("examples.yaml")
SHOWN = 2
"""Examples before the prompt."""


def scaffold(sample: Sample, draw: int) -> tuple[tuple[str, str], ...]:
    """Return pairs of prompt and answer to show before a prompt; none where no example takes the asked form.

    The answers are stock texts put into the form that the sample's own checks ask, by ``repair``.

    Args:
        sample: the prompt and its checks.
        draw: which draw; the examples rotate.
    """
    stock = _stock()
    turns = [stock[(draw + turn) % len(stock)] for turn in range(len(stock))]
    shown = [pair for example in turns if (pair := _example(example, sample.checks)) is not None]
    return tuple(shown[:SHOWN])


def copied(sample: Sample, text: str) -> bool:
    """Whether a text is about an example's subject, which its prompt does not mention."""
    told, asked = set(bare_words(text)), set(bare_words(sample.prompt))
    return any(word in told and word not in asked for example in _stock() for word in example["subject"])


def _example(example: dict[str, Any], checks: Sequence[Check]) -> tuple[str, str] | None:
    own = tuple(_for_example(check, example["sentences"][0]) for check in checks)
    asked = " ".join([example["request"], *(f"The answer {demand(check)}." for check in own)])
    shape = Sample(id="example", instruction=asked, checks=own)
    answer = repair(shape, " ".join(s for s in example["sentences"] if "[" not in s or _wants_placeholders(checks)))
    return None if answer is None else (asked, answer)


def _wants_placeholders(checks: Sequence[Check]) -> bool:
    return any(check.kind == "placeholders" for check in checks)


def _for_example(check: Check, sentence: str) -> Check:
    """Return a check with the words of another subject replaced by ones that the example has."""
    if check.kind != "must_include":
        return check
    count = 1 if isinstance(check.value, str | None | int) else len(check.value)
    longest = sorted(bare_words(sentence), key=len, reverse=True)[:count]
    return check.model_copy(update={"value": tuple(longest)})


@lru_cache(maxsize=1)
def _stock() -> list[dict[str, Any]]:
    import yaml

    loaded: list[dict[str, Any]] = yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))
    return loaded

"""What a brand and its readers ask of a text: brand terms, tone and readability.

These keys of the context are read: ``brand`` (a name that must be spelt exactly so), ``brand_terms`` (must appear),
``avoid_terms`` (must not), ``tone`` (see ``TONES``) and ``reading_grade`` (the highest US school grade). Lists may be
given as one string. Other keys are for the judges alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from state.errors import BadInput
from state.records import CheckResult
from tools.checks.kinds import counted
from tools.checks.text import count_phrase, normal, quoted_list, sentences, straight, without_fence, words

MAX_GRADE = 24.0
"""Automated Readability Index above which a text is hard for anybody; 98% of Alpaca's answers are below."""
MIN_WORDS_FOR_GRADE = 40
"""Readability formulas are averages: of fewer words they say nothing."""

_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_CONTRACTION = re.compile(r"\b\w+(?:n't|'(?:ll|re|ve|d|m))\b|\b(?:it|that|there|what|let|who|here)'s\b", re.IGNORECASE)


@dataclass(frozen=True)
class Tone:
    """What can be verified of a tone.

    Attributes:
        never: phrases that break it.
        some: one of these must stand there; empty for no such demand.
        plain: whether exclamation marks, emoji and contractions break it too.
    """

    never: tuple[str, ...] = ()
    some: tuple[str, ...] = ()
    plain: bool = False


_SLANG = (
    "gonna",
    "wanna",
    "gotta",
    "kinda",
    "dude",
    "guys",
    "lol",
    "omg",
    "awesome",
    "super cool",
    "no worries",
    "hey",
)
_HEDGES = ("maybe", "perhaps", "kind of", "sort of", "I guess", "I think", "might possibly", "not sure", "hopefully")
_HARSH = ("stupid", "idiot", "shut up", "your fault", "whatever", "ridiculous", "hate")
_PERSONAL = ("you", "your", "yours", "you're", "you'll", "you've", "we", "we're", "we'll", "we've", "our", "let's")
_FORMAL = Tone(never=_SLANG, plain=True)
_WARM = Tone(never=_HARSH, some=_PERSONAL)
_SURE = Tone(never=_HEDGES)
TONES: Mapping[str, Tone] = MappingProxyType(
    {
        "formal": _FORMAL,
        "professional": Tone(never=_SLANG),
        "serious": _FORMAL,
        "friendly": _WARM,
        "warm": _WARM,
        "conversational": Tone(some=_PERSONAL),
        "empathetic": _WARM,
        "confident": _SURE,
        "assertive": _SURE,
        "authoritative": _SURE,
    }
)
"""The tones of which something can be verified. Others are left to the judges."""


def style_checks(text: str, context: Mapping[str, Any] | None) -> tuple[CheckResult, ...]:
    """Check a text against the brand and the readers that the context describes.

    Args:
        text: the completion.
        context: as described at the top of this module; ``None`` for none.

    Raises:
        BadInput: one of the keys that are read has a value of the wrong type.
    """
    given, plain = context or {}, straight(normal(text))
    return (*_brand(plain, given), *_tone(plain, given), _readability(plain, given))


def demand_context(context: Mapping[str, Any]) -> None:
    """Demand that the keys of a context that are read have values of the right type.

    Raises:
        BadInput: one has not, or the context holds what JSON cannot.
    """
    style_checks("", context)
    try:
        json.dumps(context)
    except (TypeError, ValueError) as error:
        raise BadInput(f"context: it can hold texts, numbers, lists and mappings alone: {error}") from None


def _brand(text: str, context: Mapping[str, Any]) -> tuple[CheckResult, ...]:
    found = []
    if names := _phrases(context, "brand"):
        wrong = [spelling for name in names for spelling in _misspelt(name, text)]
        right = any(name in text for name in names)
        evidence = f"written {quoted_list(wrong)}, not {quoted_list(names)}" if wrong else f"{quoted_list(names)} found"
        passed = False if wrong else True if right else None
        found.append(("brand", passed, evidence if wrong or right else f"{quoted_list(names)} does not occur"))
    if terms := _phrases(context, "brand_terms"):
        missing = [term for term in terms if not count_phrase(term, text)]
        found.append(
            ("brand_terms", not missing, f"{quoted_list(missing or terms)} {'missing' if missing else 'found'}")
        )
    if terms := _phrases(context, "avoid_terms"):
        used = [term for term in terms if count_phrase(term, text)]
        found.append(("avoid_terms", not used, f"{quoted_list(used or terms)} {'found' if used else 'not found'}"))
    return tuple(CheckResult(kind=k, passed=p, evidence=e, dimension="brand_alignment") for k, p, e in found)


def _misspelt(name: str, text: str) -> list[str]:
    """Return the spellings of a name that differ from it in case alone."""
    spellings = re.findall(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
    return sorted({spelling for spelling in spellings if spelling != name and not spelling.isupper()})


def _tone(text: str, context: Mapping[str, Any]) -> tuple[CheckResult, ...]:
    return tuple(
        CheckResult(kind=f"tone:{name}", passed=passed, evidence=evidence, dimension="brand_alignment")
        for name in _phrases(context, "tone")
        for passed, evidence in [_one_tone(name.strip().casefold(), text)]
    )


def _one_tone(name: str, text: str) -> tuple[bool | None, str]:
    tone = TONES.get(name)
    if tone is None:
        return None, f"nothing of the tone '{name}' can be verified: the judges decide"
    broken = [phrase for phrase in tone.never if count_phrase(phrase, text)]
    if tone.plain:
        marks = ("!" if "!" in text else None, _EMOJI.search(text), _CONTRACTION.search(text))
        broken += [mark if isinstance(mark, str) else mark.group() for mark in marks if mark is not None]
    if broken:
        return False, f"{quoted_list(broken)} is not {name}"
    if tone.some and not any(count_phrase(phrase, text) for phrase in tone.some):
        return False, f"{name}, but the reader is never addressed"
    return True, f"nothing speaks against the tone '{name}'"


def _readability(text: str, context: Mapping[str, Any]) -> CheckResult:
    """Check the Automated Readability Index (Smith and Senter 1967), which needs no dictionary.

    Words and sentences are counted as everywhere here, since the lines of a list end without a full stop. On 3,985
    outputs of Alpaca that are prose the grade is 0.03 above textstat's on average, and 5 are on the other side of
    ``MAX_GRADE``.
    """
    limit = context.get("reading_grade", MAX_GRADE)
    if not isinstance(limit, int | float) or isinstance(limit, bool) or limit <= 0:
        raise BadInput(f"context 'reading_grade' must be a number above 0, not {limit!r}")
    count, parts = len(words(text)), sentences(text)
    latin = sum("a" <= character <= "z" for character in text.casefold())
    if count < MIN_WORDS_FOR_GRADE or latin < len(text) / 2 or without_fence(text).lstrip()[:1] in ("{", "["):
        return CheckResult(
            kind="readability",
            passed=None,
            evidence=f"{counted(count, 'word')}: no prose to grade",
            dimension="clarity",
        )
    characters = sum(not character.isspace() for sentence in parts for character in f"{sentence.rstrip('.!?:; ')}.")
    grade = 4.71 * characters / count + 0.5 * count / len(parts) - 21.43
    evidence = f"reads at US grade {max(grade, 0):.0f}, at most {limit:g} asked"
    return CheckResult(kind="readability", passed=grade <= limit, evidence=evidence, dimension="clarity")


def _phrases(context: Mapping[str, Any], key: str) -> list[str]:
    """Return a context value as a list of phrases.

    Raises:
        BadInput: it is neither a string nor a list of strings.
    """
    value = context.get(key)
    items: Sequence[Any] = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item.strip() for item in items):
        raise BadInput(f"context '{key}' must be a phrase or a list of phrases, not {value!r}")
    return [item.strip() for item in items]

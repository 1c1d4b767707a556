"""Whether written checks make sense: known kinds, fitting arguments, and no two that no text can meet together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import combinations
from typing import assert_never

from state.errors import BadInput
from state.records import Check
from tools.checks.ifeval import IFEVAL
from tools.checks.kinds import KINDS, RELATIONS, Kind, Part, as_phrases, counted
from tools.checks.text import count_phrase, quoted_list, words

_EXCLUSIVE = frozenset(
    frozenset(pair)
    for pair in (
        ("lower_case", "upper_case"),
        ("lower_case", "postscript"),
        ("json", "quoted"),
        ("json", "bullets"),
        ("json", "numbered"),
        ("json", "heading"),
        ("json", "title"),
        ("json", "table"),
        ("json", "postscript"),
        ("json", "question"),
        ("json", "starts_with"),
        ("json", "ends_with"),
        ("quoted", "heading"),
        ("quoted", "starts_with"),
        ("quoted", "ends_with"),
        ("heading", "starts_with"),
        ("question", "ends_with"),
    )
)
_WORDS_EACH = {"min_sentences": 1, "bullets": 1, "numbered": 1, "paragraphs": 1, "lines": 1, "placeholders": 1}
"""Kinds of which each unit needs at least so many words."""
_NUMBER = "a whole number of at least 1"


def kind_of(check: Check) -> Kind:
    """Return the kind of a check.

    Raises:
        BadInput: there is no such kind; the nearest right one is named.
    """
    known = IFEVAL if ":" in check.kind else KINDS
    if check.kind in known:
        return known[check.kind]
    near = get_close_matches(check.kind.casefold().replace("-", "_").replace(" ", "_"), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"the kinds are {', '.join(known)}"
    raise BadInput(f"unknown kind of check '{check.kind}': {hint}")


def demand(check: Check) -> str:
    """Return what a check asks of a text, in words, such as ``has at most 25 words``.

    Raises:
        BadInput: unknown kind, or an argument that does not fit it.
    """
    kind = kind_of(check)
    value = check.value
    fits, needs = _argument(kind, value)
    if not fits:
        raise BadInput(f"check '{check.kind}' takes {needs}, not {value!r}")
    if kind.argument == "parts" and isinstance(value, tuple):
        return kind.demand.format(**dict(zip(kind.parts, value, strict=True)))
    if isinstance(value, int):
        return kind.demand.format(value=counted(value, kind.unit))
    return kind.demand.format(value=quoted_list(as_phrases(value))) if value else kind.demand


def _argument(kind: Kind, value: int | str | tuple[str, ...] | None) -> tuple[bool, str]:
    """Return whether a value fits the kind's argument, and what the argument must be, in words."""
    match kind.argument:
        case "count":
            return isinstance(value, int) and value >= 1, _NUMBER
        case "phrase":
            return isinstance(value, str) and bool(value.strip()), "one phrase"
        case "phrases":
            given = isinstance(value, str | tuple) and bool(value) and all(item.strip() for item in as_phrases(value))
            return given, "one phrase or a list of phrases"
        case "none":
            return value is None, "no value"
        case "parts":
            needs = f"a list of {', '.join(map(_named, kind.parts))}"
            if not isinstance(value, tuple) or len(value) != len(kind.parts):
                return False, needs
            return all(_part(*pair)[0] for pair in zip(kind.parts, value, strict=True)), needs
        case other:
            assert_never(other)


def _named(part: Part) -> str:
    return f"{part} ({_part(part, '')[1]})"


def _part(part: Part, value: str) -> tuple[bool, str]:
    """Return whether one string of an argument of several parts fits, and what it must be, in words."""
    match part:
        case "relation":
            return value in RELATIONS, " or ".join(f"'{relation}'" for relation in RELATIONS)
        case "count" | "nth":
            return value.isascii() and value.isdigit() and int(value) >= 1, _NUMBER
        case "letter":
            return len(value) == 1, "one character"
        case "phrase":
            return bool(value.strip()), "some text"
        case other:
            assert_never(other)


def contradiction(checks: Sequence[Check]) -> str | None:
    """Return why no text can pass these checks together, or ``None`` if they do not contradict each other.

    IFEval's kinds are left out: its prompts bound a count from both sides by two instructions of one kind.

    Raises:
        BadInput: a check is wrong in itself.
    """
    for check in checks:
        demand(check)
    ours = [check for check in checks if check.kind in KINDS]
    for first, second in combinations(ours, 2):
        if reason := _clash(first, second) or _clash(second, first):
            return reason
    return None


def _clash(a: Check, b: Check) -> str | None:
    """Return why ``a`` and ``b``, in this order, exclude each other, if they do."""
    pair = f"'{a.kind}' and '{b.kind}' cannot both hold"
    if frozenset((a.kind, b.kind)) in _EXCLUSIVE and a.kind != b.kind:
        return pair
    if a.kind == b.kind and a.kind not in ("must_include", "must_avoid"):
        return f"'{a.kind}' is asked twice"
    if isinstance(a.value, int) and isinstance(b.value, int):
        return f"{pair}: {demand(a)}, but {demand(b)}" if _counts_clash(a, b) else None
    needed = _needed_phrases(a)
    if b.kind == "must_avoid" and isinstance(b.value, str | tuple):
        banned = [phrase for phrase in as_phrases(b.value) if any(count_phrase(phrase, need) for need in needed)]
        return f"{pair}: {quoted_list(banned)} is asked and banned" if banned else None
    if b.kind == "max_words" and isinstance(b.value, int) and len(words(" ".join(needed))) > b.value:
        return f"{pair}: the asked phrases alone have more than {b.value} words"
    return f"{pair}: '{broken}' is asked" if (broken := _breaks(needed, a, b)) else None


def _needed_phrases(check: Check) -> tuple[str, ...]:
    """Return the phrases that a check wants in the text."""
    if check.kind in ("must_include", "starts_with", "ends_with") and isinstance(check.value, str | tuple):
        return as_phrases(check.value)
    return ()


def _breaks(needed: Sequence[str], a: Check, b: Check) -> str | None:
    """Return an asked phrase that cannot be written under ``b``, if there is one."""
    forbidden: dict[str, Callable[[str], bool]] = {
        "no_commas": lambda phrase: "," in phrase,
        "no_digits": lambda phrase: any(character.isdigit() for character in phrase),
        "lower_case": lambda phrase: a.kind != "must_include" and phrase != phrase.lower(),
        "upper_case": lambda phrase: a.kind != "must_include" and phrase != phrase.upper(),
    }
    return next((phrase for phrase in needed if b.kind in forbidden and forbidden[b.kind](phrase)), None)


def _counts_clash(a: Check, b: Check) -> bool:
    """Whether a minimum ``a`` is above a maximum ``b`` in words, sentences, lines or characters."""
    low, high = a.value, b.value
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    if b.kind == "max_words":
        return (a.kind == "min_words" and low > high) or low * _WORDS_EACH.get(a.kind, 0) > high
    if b.kind == "max_sentences":
        return a.kind in ("min_sentences", "bullets", "numbered", "paragraphs") and low > high
    if b.kind == "max_characters":
        return (a.kind == "min_words" and 2 * low - 1 > high) or low * _WORDS_EACH.get(a.kind, 0) > high
    if b.kind == "lines":
        return a.kind in ("bullets", "numbered", "paragraphs") and low > high
    return False

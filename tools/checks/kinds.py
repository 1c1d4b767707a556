"""The kinds of verifiable check: what each demands in words, what argument it takes, and what decides it.

A checker takes the normalised text and the check's argument, and returns whether the demand is met with one line of
evidence. Demands follow the idea of IFEval (Zhou et al. 2023, arXiv 2311.07911): an instruction that a few lines of
code can verify.
"""

# ruff: noqa: RUF001 - typographic characters are what this module looks for

from __future__ import annotations

import itertools
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from tools.checks.text import (
    bare_words,
    count_phrase,
    is_bullet,
    is_numbered,
    is_separator,
    lines,
    paragraphs,
    quoted_list,
    sentences,
    straight,
    without_fence,
    words,
)

Finding = tuple[bool, str]
"""Whether the demand is met, and the evidence."""
RELATIONS: Mapping[str, Callable[[int, int], bool]] = MappingProxyType(
    {"at least": operator.ge, "less than": operator.lt}
)
"""How an argument of several parts may bound a count; ``less than`` excludes the number itself."""

_TITLE = re.compile(r"<<([^<>\n]*\w[^<>\n]*)>>")
_POSTSCRIPT = re.compile(r"^[\s*_]*P\.?[ ]?S\b\.?[\s:,*_–—-]*\w", re.MULTILINE)
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*[^\W\d_][^\[\]\n]*\](?!\()")
_HIGHLIGHT = re.compile(r"(?<![\w*])(\*{1,3})(?=[^\s*])[^*\n]*(?<=[^\s*])\1(?![\w*])")
_HASHTAG = re.compile(r"(?<![\w&#])#[^\W\d_]\w*")
_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)(.*)")
_NO_TITLE = frozenset("a an the my your our good great nice title heading header goes here".split())
"""A title of these words alone was copied from the demand's own example."""
_TABLE_RULE = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(\|[ \t]*:?-{2,}:?[ \t]*)+\|?[ \t]*$")
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」"}


Part = Literal["relation", "count", "nth", "letter", "phrase"]
"""What one string of a ``parts`` argument is: one of ``RELATIONS``, the digits of a number of at least 1 (``count`` and
``nth``), one character, or some text."""


@dataclass(frozen=True)
class Kind:
    """One kind of check.

    Attributes:
        demand: what it asks, in words; ``{value}`` stands for the argument.
        argument: ``count`` for an integer of at least 1, ``phrase`` for one string, ``phrases`` for one
            string or several, ``none`` for no argument, ``parts`` for a fixed number of strings.
        decide: the checker.
        unit: what a count counts, in the singular.
        parts: what each string of a ``parts`` argument is. The demand names them.
    """

    demand: str
    argument: Literal["count", "phrase", "phrases", "none", "parts"]
    decide: Callable[[str, Any], Finding]
    unit: str = ""
    parts: tuple[Part, ...] = ()


def counted(number: int, unit: str) -> str:
    """Return a count with its unit: ``1 word``, ``31 words``, ``2 phrases between asterisks``."""
    head, *tail = unit.split(" ", 1) if " in " in unit or " between " in unit else [unit]
    return " ".join([str(number), head if number == 1 else f"{head}s", *tail])


def _limit(bound: Literal["at most", "at least", "exactly"], count: Callable[[str], int], unit: str) -> Kind:
    """Return the kind that bounds a count of units."""
    holds: Callable[[int, int], bool] = {"at most": operator.le, "at least": operator.ge, "exactly": operator.eq}[bound]

    def decide(text: str, limit: int) -> Finding:
        return holds(number := count(text), limit), f"{counted(number, unit)}, {bound} {limit} asked"

    return Kind(f"has {bound} {{value}}", "count", decide, unit)


def _presence(wanted: bool, count: Callable[[str], int], unit: str) -> Kind:
    """Return the kind that asks for a unit, or for none of it."""

    def decide(text: str, _: None) -> Finding:
        number = count(text)
        return (number > 0) is wanted, f"{counted(number, unit) if number else f'no {unit}'} found"

    return Kind(f"has {'a' if wanted else 'no'} {unit}", "none", decide)


def as_phrases(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return one phrase or several as a tuple."""
    return (value,) if isinstance(value, str) else value


def _must_include(text: str, value: str | tuple[str, ...]) -> Finding:
    missing = [phrase for phrase in as_phrases(value) if not count_phrase(phrase, text)]
    return not missing, f"{quoted_list(missing)} missing" if missing else f"{quoted_list(as_phrases(value))} found"


def _must_avoid(text: str, value: str | tuple[str, ...]) -> Finding:
    found = [phrase for phrase in as_phrases(value) if count_phrase(phrase, text)]
    return not found, f"{quoted_list(found)} found" if found else f"{quoted_list(as_phrases(value))} not found"


def _starts_with(text: str, phrase: str) -> Finding:
    asked, plain = straight(phrase).strip(), straight(text)
    rest = plain[len(asked) : len(asked) + 1]
    met = plain.startswith(asked) and not (asked[-1].isalnum() and rest.isalnum())
    return met, f"starts with '{shown(plain, len(asked) + 12)}', '{asked}' asked"


def _ends_with(text: str, phrase: str) -> Finding:
    asked, plain = straight(phrase).strip(), straight(text)
    before = plain[: -len(asked)][-1:]
    met = plain.endswith(asked) and not (asked[0].isalnum() and before.isalnum())
    return met, f"ends with '{shown(plain, -len(asked) - 12)}', '{asked}' asked"


def shown(text: str, length: int) -> str:
    """Return the text's first ``length`` characters, or its last where ``length`` is negative, on one line."""
    flat = " ".join(text.split())
    if len(flat) <= abs(length):
        return flat
    return f"{flat[:length]}..." if length > 0 else f"...{flat[length:]}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _json(text: str, _: None) -> Finding:
    try:
        value = json.loads(without_fence(text).strip(), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return False, f"no JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        return False, f"no JSON: {error}"
    if not isinstance(value, dict | list):
        return False, "JSON, but neither an object nor a list"
    return True, f"a JSON {'object' if isinstance(value, dict) else 'list'} with {counted(len(value), 'item')}"


def _one_case(wrong: Callable[[str], bool], right: Callable[[str], bool], name: str) -> Callable[[str, None], Finding]:
    def decide(text: str, _: None) -> Finding:
        offending = next((word for word in text.split() if any(wrong(character) for character in word)), None)
        if offending is not None:
            return False, f"'{shown(offending, 30)}' is not {name} case"
        met = any(right(character) for character in text)
        return met, f"all letters are {name} case" if met else f"no {name}-case letter"

    return decide


def _quoted(text: str, _: None) -> Finding:
    closing = _QUOTES.get(text[0])
    met = closing is not None and len(text) > 2 and text[-1] in (closing, '"')
    return met, f"starts with {text[0]} and ends with {text[-1]}"


def _ends_in_question(text: str, _: None) -> Finding:
    last = text.rstrip("\"'”’»)*_ ")[-1:]
    return last in ("?", "？", "؟"), f"the last character is {last or text[-1]}"


def _heading(text: str, _: None) -> Finding:
    first = lines(text)[0].strip()
    found = _HEADING.match(first)
    return found is not None and _is_title(found.group(1)), f"the first line is '{shown(first, 40)}'"


def _count_titles(text: str) -> int:
    return sum(_is_title(title) for title in _TITLE.findall(text))


def _is_title(text: str) -> bool:
    return not set(bare_words(text)) <= _NO_TITLE


def _count_lines(test: Callable[[str], bool]) -> Callable[[str], int]:
    return lambda text: sum(test(line) for line in text.split("\n"))


def _count_found(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda text: len(pattern.findall(text))


def _count_tables(text: str) -> int:
    rows = text.split("\n")
    pairs = itertools.pairwise(rows)
    return sum("|" in above and bool(_TABLE_RULE.match(below)) for above, below in pairs)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "max_words": _limit("at most", lambda text: len(words(text)), "word"),
        "min_words": _limit("at least", lambda text: len(words(text)), "word"),
        "max_sentences": _limit("at most", lambda text: len(sentences(text)), "sentence"),
        "min_sentences": _limit("at least", lambda text: len(sentences(text)), "sentence"),
        "max_characters": _limit("at most", len, "character"),
        "lines": _limit("exactly", lambda text: sum(not is_separator(line) for line in lines(text)), "line"),
        "paragraphs": _limit("exactly", lambda text: len(paragraphs(text)), "paragraph"),
        "bullets": _limit("exactly", _count_lines(is_bullet), "bullet point"),
        "numbered": _limit("exactly", _count_lines(is_numbered), "numbered point"),
        "placeholders": _limit("at least", _count_found(_PLACEHOLDER), "placeholder in square brackets"),
        "highlights": _limit("at least", _count_found(_HIGHLIGHT), "phrase between asterisks"),
        "hashtags": _limit("at least", _count_found(_HASHTAG), "hashtag"),
        "must_include": Kind("includes {value}", "phrases", _must_include),
        "must_avoid": Kind("does not use {value}", "phrases", _must_avoid),
        "starts_with": Kind("starts with {value}", "phrase", _starts_with),
        "ends_with": Kind("ends with {value}", "phrase", _ends_with),
        "question": Kind("ends with a question", "none", _ends_in_question),
        "json": Kind("is one JSON object or list and nothing else", "none", _json),
        "lower_case": Kind("is in lower case throughout", "none", _one_case(str.isupper, str.islower, "lower")),
        "upper_case": Kind("is in upper case throughout", "none", _one_case(str.islower, str.isupper, "upper")),
        "quoted": Kind("stands in double quotation marks as a whole", "none", _quoted),
        "heading": Kind("begins with a Markdown heading", "none", _heading),
        "title": _presence(True, _count_titles, "<<title>>"),
        "table": _presence(True, _count_tables, "Markdown table"),
        "postscript": _presence(True, _count_found(_POSTSCRIPT), "postscript"),
        "no_commas": _presence(False, lambda text: sum(text.count(comma) for comma in ",，、،"), "comma"),
        "no_digits": _presence(False, lambda text: sum(map(str.isdigit, text)), "digit"),
    }
)
"""Every kind of check by its name."""

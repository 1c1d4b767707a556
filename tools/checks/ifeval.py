"""IFEval's 25 kinds of instruction (Zhou et al. 2023, arXiv 2311.07911), decided as its published verifier decides.

They stand beside Corral's own kinds under IFEval's names, such as ``punctuation:no_comma``, since they count otherwise:
a word is a run of letters, digits and underscores, a keyword is found inside of longer words, paragraphs are divided by
``***``. Where a person would judge differently, the verifier is followed, so that figures can be compared.

What differs from it: keywords and section names are plain text here, patterns there; sentences are split by NLTK's
Punkt by the rules of its version 3.8.1, whichever is installed, with the abbreviations below in place of its downloaded
English model; the language detector has a fixed seed, where it tosses a coin there; a letter may be any character, as
the prompts ask for ``#`` and ``!``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from tools.checks.kinds import RELATIONS, Finding, Kind, Part, as_phrases, counted, shown
from tools.checks.text import quoted_list

REPEAT_PROMPT = "combination:repeat_prompt"
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""The answers that ``detectable_format:constrained_response`` allows."""
_ABBREVIATIONS = (
    "a.d a.m adj adm apr approx apt assn aug ave b.c bldg blvd brig c capt cf cmdr co col corp ct d.c dec dept dr e.g "
    "est etc feb fig fri ft gen gov hon i.e inc jan jr ltd lt maj messrs mr mrs ms mt no nov oct op p.m ph.d pres prof "
    "rep rev sen sep sept sgt sr st u.k u.n u.s v vol vs"
)
_FENCE_HEADS = ("```json", "```Json", "```JSON", "```")
_WORD_ENDS = frozenset(".,?!'\"")


def _compare(number: int, relation: str, limit: str, unit: str) -> Finding:
    return RELATIONS[relation](number, int(limit)), f"{counted(number, unit)}, {relation} {limit} asked"


def _bounded(count: Callable[[str], int], unit: str, demand: str) -> Kind:
    """Return the kind with a relation and a number."""

    def decide(text: str, value: tuple[str, str]) -> Finding:
        return _compare(count(text), *value, unit)

    return Kind(demand, "parts", decide, parts=("relation", "count"))


def _at_least(count: Callable[[str], int], unit: str) -> Kind:
    def decide(text: str, limit: int) -> Finding:
        return _compare(count(text), "at least", str(limit), unit)

    return Kind("has at least {value}", "count", decide, unit)


def _existence(text: str, value: str | tuple[str, ...]) -> Finding:
    """All keywords, in any case, also inside of other words."""
    missing = [word for word in as_phrases(value) if word.casefold() not in text.casefold()]
    return not missing, f"{quoted_list(missing)} missing" if missing else f"{quoted_list(as_phrases(value))} found"


def _frequency(text: str, value: tuple[str, str, str]) -> Finding:
    """How often a keyword stands there, in any case, also inside of other words."""
    relation, limit, word = value
    number = len(re.findall(re.escape(word.strip()), text, re.IGNORECASE))
    return _compare(number, relation, limit, f"time in all, '{word}'")


def _forbidden(text: str, value: str | tuple[str, ...]) -> Finding:
    """No forbidden word, in any case, as a whole word."""
    found = [word for word in as_phrases(value) if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]
    return not found, f"{quoted_list(found)} found" if found else f"{quoted_list(as_phrases(value))} not found"


def _letters(text: str, value: tuple[str, str, str]) -> Finding:
    """How often a letter stands there, upper and lower case together."""
    relation, limit, letter = value
    return _compare(text.lower().count(letter.lower()), relation, limit, f"'{letter}'")


def _language(text: str) -> str | None:
    """Return the text's ISO 639-1 code as langdetect sees it; ``None`` where there is nothing to tell it by."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return str(detect(text))
    except LangDetectException:
        return None


def _in_language(text: str, code: str) -> Finding:
    """The whole text in one language; a text without letters passes."""
    found = _language(text)
    return found in (None, code), f"reads as '{found}', '{code}' asked" if found else "no language can be told"


def _english_case(right: Callable[[str], bool], name: str) -> Callable[[str, None], Finding]:
    """English, with no cased letter of the other case and at least one of this."""

    def decide(text: str, _: None) -> Finding:
        if not right(text):
            return False, f"not all letters are {name} case"
        met, evidence = _in_language(text, "en")
        return met, f"all letters are {name} case; {evidence}"

    return decide


@lru_cache(maxsize=1)
def _punkt() -> Any:
    from nltk.tokenize.punkt import PunktLanguageVars, PunktParameters, PunktSentenceTokenizer

    class PublishedRules(PunktLanguageVars):  # type: ignore[misc]  # nltk carries no types
        """The rules of NLTK 3.8.1, which the published figures rest on: a curly quote closes no sentence."""

        re_boundary_realignment = re.compile(r'["\')\]}]+?(?:\s+|(?=--)|$)', re.MULTILINE)

        @property
        def _re_non_word_chars(self) -> str:
            ends = re.escape("".join(set(self.sent_end_chars) - {"."}))
            return rf"(?:[)\";}}\]\*:@\'\({{\[{ends}])"

    parameters = PunktParameters()
    parameters.abbrev_types = set(_ABBREVIATIONS.split())
    return PunktSentenceTokenizer(parameters, lang_vars=PublishedRules())


def _sentences(text: str) -> list[str]:
    """Return Punkt's sentences: a line's end does not end one, and ``1.`` before a list's item is one."""
    return list(_punkt().tokenize(text))


def _capital_words(text: str) -> int:
    """Count tokens in capitals alone: ``A``, ``NASA``, ``F-16`` and the ``I`` of ``I'm`` among them."""
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokens = NLTKWordTokenizer()
    return sum(token.isupper() for sentence in _sentences(text) for token in tokens.tokenize(sentence))


def _paragraphs(text: str, limit: int) -> Finding:
    """Paragraphs divided by ``***``; an empty one between two dividers fails, one at either end does not count."""
    parts = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", text)]
    number = sum(parts)
    met = all(parts[1:-1]) and number == limit
    return met, f"{counted(number, 'paragraph')} divided by ***, exactly {limit} asked"


def _nth_paragraph(text: str, value: tuple[str, str, str]) -> Finding:
    """So many paragraphs between blank lines, and the first word of the nth, in any case.

    Blank paragraphs do not count but keep their place, so that the nth after one is another. A word ends at a full
    stop, a comma, a question or exclamation mark or a quote.
    """
    limit, nth, asked = int(value[0]), int(value[1]), value[2]
    parts = [part.strip() for part in text.split("\n\n")]
    number = sum(map(bool, parts))
    if nth > number or not parts[nth - 1]:
        return False, f"{counted(number, 'paragraph')}, no paragraph {nth}"
    opening = parts[nth - 1].split()[0].lstrip("'").lstrip('"').lower()
    end = next((place for place, letter in enumerate(opening) if letter in _WORD_ENDS), len(opening))
    met = number == limit and opening[:end] == asked.lower()
    said = f"{counted(number, 'paragraph')}, exactly {limit} asked"
    return met, f"{said}; paragraph {nth} begins with '{opening[:end]}', '{asked}' asked"


def _postscript(text: str, marker: str) -> Finding:
    """A postscript by its marker in any case, anywhere; ``P.S.`` and ``P.P.S`` also with spaces after the dots."""
    spaced = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    met = re.search(spaced.get(marker, re.escape(marker.lower())), text.lower()) is not None
    return met, f"'{marker}' {'found' if met else 'missing'}"


def _bullets(text: str, limit: int) -> Finding:
    """Lines that begin with ``-``, or with ``*`` and then something else than ``*``."""
    number = len(re.findall(r"^\s*(?:\*[^*]|-)", text, re.MULTILINE))
    return number == limit, f"{counted(number, 'bullet point')}, exactly {limit} asked"


def _constrained(text: str, _: None) -> Finding:
    found = [option for option in OPTIONS if option in text]
    return bool(found), f"{quoted_list(found)} found" if found else f"none of {quoted_list(OPTIONS)} found"


def _highlights(text: str) -> int:
    """Count ``*x*`` and ``**x**`` with more than white space in them, on one line each."""
    one = [part.strip("*") for part in re.findall(r"\*[^\n*]*\*", text)]
    two = re.findall(r"\*\*([^\n*]*)\*\*", text)
    return sum(bool(part.strip()) for part in (*one, *two))


def _sections(text: str, value: tuple[str, str]) -> Finding:
    """Section marks such as ``SECTION 1``, in this very case."""
    limit, name = value
    number = len(re.findall(rf"\s?{re.escape(name)}\s?\d+\s?", text))
    return _compare(number, "at least", limit, f"section marked '{name} X'")


def _json(text: str, _: None) -> Finding:
    """Any JSON value, ``NaN`` and bare numbers among them, with or without a code fence."""
    bare = text.strip()
    for head in _FENCE_HEADS:
        bare = bare.removeprefix(head)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError) as error:
        return False, f"no JSON: {str(error).lower()}"
    return True, "JSON"


def _title(text: str, _: None) -> Finding:
    """``<<title>>`` on one line, from the line's first ``<<`` to its last ``>>``."""
    titles = [found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text)]
    title = next((found for found in titles if found), None)
    return title is not None, f"the title is '{shown(title, 40)}'" if title else "no <<title>> found"


def _two_responses(text: str, _: None) -> Finding:
    """Two different texts divided by ``******``; an empty one between two dividers fails."""
    parts = [part.strip() for part in text.split("******")]
    answers = [part for part in parts if part]
    met = all(parts[1:-1]) and len(answers) == 2 and answers[0] != answers[1]
    return met, f"{counted(len(answers), 'response')} divided by ******, two different ones asked"


def _repeats(text: str, prompt: str) -> Finding:
    """The prompt first, in any case."""
    met = text.strip().lower().startswith(prompt.strip().lower())
    return met, f"{'begins' if met else 'does not begin'} with the prompt"


def _ends(text: str, phrase: str) -> Finding:
    """The very end, in any case; double quotes around the text do not count."""
    met = text.strip().strip('"').lower().endswith(phrase.strip().lower())
    return met, f"ends with '{shown(text, -len(phrase) - 12)}', '{phrase}' asked"


def _quoted(text: str, _: None) -> Finding:
    """Straight double quotes around the whole; typographic ones are none here."""
    bare = text.strip()
    met = len(bare) > 1 and bare[0] == bare[-1] == '"'
    return met, f"starts with {bare[:1]} and ends with {bare[-1:]}"


def _no_comma(text: str, _: None) -> Finding:
    number = text.count(",")
    return number == 0, f"{counted(number, 'comma') if number else 'no comma'} found"


def _parts(demand: str, decide: Callable[[str, Any], Finding], *parts: Part) -> Kind:
    return Kind(demand, "parts", decide, parts=parts)


IFEVAL: Mapping[str, Kind] = MappingProxyType(
    {
        "keywords:existence": Kind("includes {value}", "phrases", _existence),
        "keywords:frequency": _parts(
            "has '{phrase}' {relation} {count} times", _frequency, "relation", "count", "phrase"
        ),
        "keywords:forbidden_words": Kind("does not use {value}", "phrases", _forbidden),
        "keywords:letter_frequency": _parts(
            "has the letter '{letter}' {relation} {count} times", _letters, "relation", "count", "letter"
        ),
        "language:response_language": Kind("is in the language {value} throughout", "phrase", _in_language),
        "length_constraints:number_sentences": _bounded(
            lambda text: len(_sentences(text)), "sentence", "has {relation} {count} sentences"
        ),
        "length_constraints:number_paragraphs": Kind(
            "has exactly {value} divided by ***", "count", _paragraphs, "paragraph"
        ),
        "length_constraints:number_words": _bounded(
            lambda text: len(re.findall(r"\w+", text)), "word", "has {relation} {count} words"
        ),
        "length_constraints:nth_paragraph_first_word": _parts(
            "has {count} paragraphs, and '{phrase}' begins number {nth}", _nth_paragraph, "count", "nth", "phrase"
        ),
        "detectable_content:number_placeholders": _at_least(
            lambda text: len(re.findall(r"\[.*?\]", text)), "placeholder in square brackets"
        ),
        "detectable_content:postscript": Kind("has a postscript {value}", "phrase", _postscript),
        "detectable_format:number_bullet_lists": Kind("has exactly {value}", "count", _bullets, "bullet point"),
        "detectable_format:constrained_response": Kind("says yes, no or maybe as asked", "none", _constrained),
        "detectable_format:number_highlighted_sections": _at_least(_highlights, "section between asterisks"),
        "detectable_format:multiple_sections": _parts(
            "has at least {count} sections marked '{phrase} X'", _sections, "count", "phrase"
        ),
        "detectable_format:json_format": Kind("is JSON as a whole", "none", _json),
        "detectable_format:title": Kind("has a <<title>>", "none", _title),
        "combination:two_responses": Kind("gives two different responses divided by ******", "none", _two_responses),
        REPEAT_PROMPT: Kind("repeats {value} first", "phrase", _repeats),
        "startend:end_checker": Kind("ends with {value}", "phrase", _ends),
        "startend:quotation": Kind("stands in double quotation marks as a whole", "none", _quoted),
        "change_case:capital_word_frequency": _bounded(
            _capital_words, "word in capitals", "has {relation} {count} words in capitals"
        ),
        "change_case:english_capital": Kind(
            "is English in capitals throughout", "none", _english_case(str.isupper, "upper")
        ),
        "change_case:english_lowercase": Kind(
            "is English in lower case throughout", "none", _english_case(str.islower, "lower")
        ),
        "punctuation:no_comma": Kind("has no comma", "none", _no_comma),
    }
)
"""IFEval's kinds by their ids. Arguments of several parts are strings, such as ``("at least", "300")``."""

"""Repair a text: keep whole sentences within the prompt's limits, and give them the form that the prompt asks for.

Only the form is new: sentences are kept or dropped, never rewritten; what is added are bullets, quotation marks, a
title in the prompt's own words, or a phrase that the prompt dictates. The result is checked in full, and dropped where
it fails. Sentences are split and titles made by the rules of English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from state.records import Sample
from tools.candidates.passing import aside, fit_to_imitate
from tools.checks.kinds import as_phrases
from tools.checks.text import bare_words, count_phrase, normal, sentences, words

MOST_WORDS = 120
"""Most words of a repaired text: a small model does not stay coherent for longer."""
LEAST_KEPT = 0.5
"""Smallest share of a text's words that a repair keeps where the prompt sets no limit or number: with fewer it is a
fragment, and an adapter that imitates fragments gives shorter answers."""
LIMITS = frozenset(("max_words", "max_sentences", "max_characters", "bullets", "numbered", "lines"))
SENTENCE_WORDS = (4, 34)
"""Words of a sentence worth keeping."""
_MARKUP = re.compile(r"\*+|`+|<<|>>|^\s*#+\s*", re.MULTILINE)
_WHOLE = re.compile(r"[.!?]$")
_REQUEST = re.compile(
    r"^(?:please )?(?:explain|describe|give advice on|advise (?:on|about)|tell (?:me|us|a beginner)|write|tell|name)\s+"
    r"(?:about |how to |how |why |what |me |an? (?:short |brief )?[\w-]+(?: [\w-]+)? (?:about|for|to|of|on) )?",
    re.IGNORECASE,
)
_SMALL = frozenset("a an and at by for from in into is of on or the their to with".split())
_FORM = frozenset(
    "answer answers words word title titles sentence sentences paragraph paragraphs line lines letter letters json "
    "character characters bullet bullets points heading quotes quotation asterisks placeholders commas comma "
    "digits".split()
)
"""A clause of a prompt with one of these is about the form, not about the subject."""
_FORM_TALK = frozenset(
    "asterisk asterisks bracket brackets bullet bullets capital capitals characters comma commas json letters title "
    "lower-case lowercase markdown paragraph paragraphs phrase placeholder placeholders quotation quotes sentence "
    "sentences upper-case uppercase valid words".split()
)
"""A sentence with one of these that is in the prompt, too, talks about the demand instead of meeting it."""
Demands = Mapping[str, Any]


def repair(sample: Sample, text: str) -> str | None:
    """Return the text in the form that the sample's checks ask, or ``None`` where that is not possible.

    Args:
        sample: the prompt and its checks. A check that does not depend on the form is not worked on.
        text: a completion, finished or not.
    """
    demands = {check.kind: check.value for check in sample.checks}
    kept = _select(demands, _usable(demands, sample.prompt, text))
    if kept is None:
        return None
    shaped = _formatted(demands, sample.prompt, kept)
    least = 0.0 if LIMITS & demands.keys() else LEAST_KEPT * min(len(words(text)), MOST_WORDS)
    return shaped if len(words(shaped)) >= least and fit_to_imitate(sample, shaped, ended=True) else None


def _usable(demands: Demands, prompt: str, text: str) -> list[str]:
    """Return the whole sentences that break none of the demands that hold for each sentence by itself."""
    plain = _MARKUP.sub("", normal(text)).replace('"', "")
    for phrase in (demands.get("starts_with"), demands.get("ends_with")):
        plain = plain.replace(phrase, "").strip() if phrase else plain
    talk = _FORM_TALK & set(bare_words(prompt))
    found = []
    for sentence in dict.fromkeys(sentences(plain)):
        short, long = SENTENCE_WORDS
        if not _WHOLE.search(sentence) or aside(sentence) or not short <= len(words(sentence)) <= long:
            continue
        broken = (
            ("no_commas" in demands and "," in sentence)
            or ("no_digits" in demands and any(map(str.isdigit, sentence)))
            or any(count_phrase(phrase, sentence) for phrase in as_phrases(demands.get("must_avoid", ())))
            or talk & set(bare_words(sentence))
        )
        if not broken and "P.S." not in sentence:
            joined = " ".join(sentence.split())
            found.append(joined[:1].upper() + joined[1:])
    return found


def _select(demands: Demands, found: list[str]) -> list[str] | None:
    """Return the first sentences that fit the limits, those with required words first; ``None`` if too few."""
    pieces = next((demands[kind] for kind in ("bullets", "numbered", "lines") if kind in demands), None)
    beside = sum(kind in demands for kind in ("title", "heading", "ends_with"))
    most = min(pieces or 99, demands.get("max_sentences", 99) - beside)
    room = min(demands.get("max_words", MOST_WORDS), MOST_WORDS) - len(words(_dictated(demands)))
    letters = demands.get("max_characters", 10_000) - len(_dictated(demands)) - 4 * ("quoted" in demands)
    if "title" in demands or "heading" in demands:
        room, letters = room - 8, letters - 60
    wanted = as_phrases(demands.get("must_include", ()))

    def worth(at: int) -> int:
        gaps = found[at].count("[") if "placeholders" in demands else 0
        return gaps + sum(bool(count_phrase(phrase, found[at])) for phrase in wanted)

    ordered = sorted(range(len(found)), key=lambda at: (-worth(at), at))
    kept: list[int] = []
    for at in ordered:
        size = len(words(found[at]))
        if len(kept) < most and size <= room and len(found[at]) + 1 <= letters:
            kept, room, letters = [*kept, at], room - size, letters - len(found[at]) - 1
    least = max(1, pieces or 1, demands.get("paragraphs", 1), demands.get("min_sentences", 1))
    least += "postscript" in demands
    return [found[at] for at in sorted(kept)] if len(kept) >= least else None


def _dictated(demands: Demands) -> str:
    return f"{demands.get('starts_with', '')} {demands.get('ends_with', '')}"


def _formatted(demands: Demands, prompt: str, kept: list[str]) -> str:
    postscript = kept.pop() if "postscript" in demands else None
    title = topic(prompt, " ".join(kept))
    text = _body(demands, title, kept)
    gap = "\n" if {"paragraphs", "lines"} & set(demands) else "\n\n"
    if "highlights" in demands:
        text = _highlighted(text, demands["highlights"])
    if "title" in demands:
        text = f"<<{title}>>{gap}{text}"
    if "heading" in demands:
        text = f"# {title}{gap}{text}"
    if start := demands.get("starts_with"):
        text = f"{start} {_after(start, text)}"
    if postscript:
        text = f"{text}\n\nP.S. {postscript}"
    if end := demands.get("ends_with"):
        text = f"{text}{chr(10) * 2 if chr(10) in text else ' '}{end}"
    if "lower_case" in demands or "upper_case" in demands:
        text = text.lower() if "lower_case" in demands else text.upper()
    return f'"{text}"' if "quoted" in demands else text


def _body(demands: Demands, title: str, kept: list[str]) -> str:
    if "bullets" in demands:
        return "\n".join(f"- {sentence}" for sentence in kept)
    if "numbered" in demands:
        return "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(kept, start=1))
    if "lines" in demands:
        return "\n".join(kept)
    if "json" in demands:
        return json.dumps({"title": title, "text": " ".join(kept)}, ensure_ascii=False)
    count = demands.get("paragraphs", 1)
    cuts = [round(part * len(kept) / count) for part in range(count + 1)]
    return "\n\n".join(" ".join(kept[start:end]) for start, end in pairwise(cuts))


def _after(start: str, text: str) -> str:
    """Return a text as it goes on after a beginning that ends in a comma, or that is a sentence of its own."""
    goes_on = start.rstrip().endswith(",") and not re.match(r"I\b|[A-Z]{2}", text)
    return text[:1].lower() + text[1:] if goes_on else text


def _highlighted(text: str, count: int) -> str:
    """Return a text whose first ``count`` long words, each once, stand between asterisks."""
    found = {word[:5]: word for word in reversed(re.findall(r"\b[a-z]{6,}\b", text))}
    for word in list(reversed(found.values()))[:count]:
        text = re.sub(rf"\b{word}\b", f"*{word}*", text, count=1)
    return text


def topic(prompt: str, text: str) -> str:
    """Return a title from the prompt's words: of its clauses, the one that shares most content words with the text.

    Args:
        prompt: request and demands, in any order.
        text: the answer.
    """
    told = set(bare_words(text)) - _SMALL
    clauses = [clause.strip() for clause in re.split(r"[.,;:!?\n\"]+", prompt) if clause.strip()]
    of_subject = [clause for clause in clauses if not _FORM & set(bare_words(clause))] or clauses
    best = max(of_subject, key=lambda clause: len(told & set(bare_words(clause))), default="")
    plain = _REQUEST.sub("", best).strip() or best
    parts = plain.split()[:8]
    while len(parts) > 1 and parts[-1].casefold() in _SMALL:
        parts.pop()
    kept = [p if p.casefold() in _SMALL and at else p[:1].upper() + p[1:] for at, p in enumerate(parts)]
    return " ".join(kept)

"""Verdicts in words: tags, labelled lines, tables and sentences, read where they say one score and no other.

A number counts where it stands for the judge's own verdict: in a tag or behind a label at a line's beginning, in a
table's column, behind "I give it", or alone. Whatever else stands in the text is the judge's talk about the answer, and
may hold numbers of that answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from state.dimensions import DIMENSIONS
from tools.endpoint.spoken import spoken
from tools.special_tokens import first_turn

_SENTENCE = 400
"""Characters before a number that are looked at for what makes it doubtful."""
LONGEST = 20_000
"""Characters of an answer that are looked at."""
_SCORE = "|".join(["scores?", "ratings?", "grade", "stars?", "points?", "marks?", *DIMENSIONS]).replace("_", "[ _]")
_WHOSE = (
    r"(?:(?:my|the|final|overall|total|your|its|this|numerical|numeric|given|verdict|answer'?s|response'?s)\s+){0,3}"
)
_NUMBER = (
    r"(?P<points>\d{1,3}(?:[.,]\d{1,2})?(?:\s*(?:/|(?:out\s+)?of)\s*\d+|\s*(?:%|percent\b))?"
    r"|[\u2605\u2b50][\u2605\u2b50\u2606]*)"
)
_ENDS = (
    r"(?![\w/%]|[.,]\d|\s*(?:[-\u2013\u2014~+*]|to|or|and|plus|minus)\s*\d|\s*(?:if|unless|were|had)\b)"
    r"(?=[ \t]*(?:$|[.,;:!?()\[\]|\u2013\u2014-]|(?:because|since|overall|in\s+total|points?|stars?|for|on"
    r"|as\s+(?:it|the)|to\s+(?:this|the|it)|reason\w*|rationale|explanation|justification|strengths?|weakness(?:es)?)\b))"
)
"""Behind the number nothing goes on with it, and no noun follows that it counts: "3 rivers", "80-85", "90 if"."""
_LABELLED = re.compile(
    rf"(?:^|(?<=[.!?]\s)){_WHOSE}(?:{_SCORE})(?:\s+(?:{_SCORE}))?(?:\s*\([^()\n]{{0,40}}\))?(?:\s+for\s+[^\n:=]{{1,40}})?"
    rf"[ \t]*(?:[:=\u2013\u2014|-]+|\bis\b|\bof\b|\s)[ \t]*\n?[ \t]*{_NUMBER}{_ENDS}",
    re.IGNORECASE | re.MULTILINE,
)
_ANYWHERE = re.compile(rf"\b(?:{_SCORE})[ \t]*[:=][ \t]*{_NUMBER}", re.IGNORECASE)
"""A second score within a line makes the first one doubtful."""
_GIVEN = re.compile(
    r"(?:\bI(?:['\u2019](?:d|ll|ve)|\s+(?:would|will|have|must|can|am))?\s+(?:\w+\s+)?"
    r"(?:give|gave|giving|rate|rated|rating|score|scored|scoring|assign|assigned|award|awarded)\b[^\d.!?;\n]{0,60}?"
    r"|(?:^|(?<=[.!?]\s))(?:this|the|it|so,?\s+it)(?:\s+(?:answer|response|text|one|output))?\s+"
    r"(?:gets|deserves|earns|receives|scores|merits|rates)\s+(?:an?\s+)?(?:(?:solid|score|rating)\s+(?:of\s+)?)?)"
    rf"(?<!\d){_NUMBER}{_ENDS}",
    re.IGNORECASE | re.MULTILINE,
)
_ALONE = re.compile(
    rf"\A\s*{_NUMBER}{_ENDS}\s*(?:(?:points?|stars?)\b\s*)?(?:[.:,;(\u2013\u2014-].*)?\Z", re.I | re.DOTALL
)
_UNMEANT = re.compile(r"\b(?:if|unless|were|had|would\s+(?:be|have|need))\b", re.IGNORECASE)
"""In the sentence before a number: what follows is a score that was not given."""
_DOUBT = re.compile(
    r"\b(?:not|never|cannot|could|might|should|less\s+than|more\s+than|at\s+least|at\s+most|up\s+to|below|above|over"
    r"|under|between|instead)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
"""The same of the clause before it."""
_SCALE = re.compile(
    r"(?:\b(?:scale|range|from|out)\b[^\d\n]{0,20})?\b[01]\s*(?:-|\u2013|to)\s*(\d{1,3})\b|\bout\s+of\s+(\d+)\b",
    re.IGNORECASE,
)
_TAG = re.compile(r"<\s*([a-z_][\w -]{0,40}?)\s*>\s*([^<>]{0,2000}?)\s*<\s*/\s*\1\s*>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"<\s*\w+\s[^<>]{0,200}?\b([a-z_]\w{0,40})\s*=\s*[\"']([^\"'<>]{0,200})[\"']", re.IGNORECASE)
_NOTE = re.compile(
    r"^(?:the\s+|my\s+|brief\s+|short\s+)?(?P<name>reason(?:ing)?|rationale|explanation|justification|because|comments?|strengths?"
    r"|weakness(?:es)?)\s*[:=\u2013\u2014|-]+\s*(?P<text>\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_INLINE_NOTE = re.compile(
    r"(?<=[.;,)\d]\s)(?=(?:reason(?:ing)?|rationale|explanation|justification|strengths?|weakness(?:es)?)\s*[:=])",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"[*`~]+|(?<!\w)_+|_+(?!\w)")
_BULLET = re.compile(r"^(?:[-+\u2022>#]+(?!\d)|\d+[.)](?= [A-Za-z])) ?")
_CHOICE = re.compile(
    r"^(?:(?:my|the|final|overall)\s+){0,2}(?:better(?:\s+(?:answer|response|one))?|winner|verdict|choice|preferred(?:\s+\w+)?"
    r"|preference)\s*(?:[:=\u2013\u2014|-]+|is)\s*(?P<choice>[^.\n]{1,40}?)\s*(?:[.(,;].*)?$",
    re.IGNORECASE | re.MULTILINE,
)
_BETTER = re.compile(
    r"(?:^|(?<=[.!?]\s))(?:I\s+(?:prefer|choose|pick|favou?r)\s+)?(?P<choice>(?:the\s+)?(?:first|second)(?:\s+(?:answer|response|one))?"
    r"|(?:answer|response|option)\s+[12ab])\b(?P<said>\s+is\s+(?:(?!not\b|no\b)\w+\s+)?better\b)?",
    re.IGNORECASE | re.MULTILINE,
)
_MARKED = re.compile(r"\[\[\s*([ABC]|tie)\s*\]\]")


def said_points(text: str, top: int, as_points: Callable[[Any, int], int]) -> int | None:
    """Return the one score that a verdict in words gives; ``None`` where it gives none, or more than one.

    Args:
        text: what a judge answered.
        top: the highest points that can be given, 5 or 100.
        as_points: reads points as models write them; raises ``ValueError``.
    """
    plain = _plain(text)
    found = [*_tagged(plain, _is_score), *_in_tables(plain), *_written(plain)]
    scale = _scale(plain)
    points = {_read(one, top, scale, as_points) for one in set(found)}
    return points.pop() if len(points) == 1 else None


def said_note(text: str, *names: str) -> str:
    """Return what stands in a tag or behind a label of one of some names; empty where nothing does."""
    plain = _plain(text)
    wanted = tuple(name.lower() for name in names)
    tagged = [value for value in _tagged(plain, lambda name: name.startswith(wanted))]
    lines = _INLINE_NOTE.sub("\n", plain)
    labelled = [found["text"] for found in _NOTE.finditer(lines) if found["name"].lower().startswith(wanted)]
    return (tagged + labelled + [""])[0].strip(" \t|")


def said_choice(text: str) -> str | None:
    """Return which of two answers a verdict prefers, in its words; ``None`` where it names none, or several."""
    plain = _plain(text)
    found = [*_tagged(plain, lambda name: name in ("better", "winner", "choice", "verdict", "preference"))]
    found += [{"C": "tie"}.get(one, one) for one in _MARKED.findall(plain)]
    found += [one["choice"] for one in _CHOICE.finditer(plain)]
    for one in _BETTER.finditer(plain):
        if one["said"] or re.match(r"\s*I\s", one.group(), re.IGNORECASE):
            found.append(one["choice"])
    if not found and len(plain.split()) <= 3:
        found = [plain]
    different = {" ".join(one.lower().split()) for one in found}
    return found[0] if len(different) == 1 else None


def _plain(text: str) -> str:
    said = first_turn(spoken(text[:LONGEST]).text)
    lines = (" ".join(line.split()) for line in _MARKDOWN.sub("", said).split("\n"))
    return "\n".join(filter(None, (_BULLET.sub("", line) for line in lines)))


def _is_score(name: str) -> bool:
    return re.fullmatch(rf"(?:(?:final|overall|total)[ _-])?(?:{_SCORE})", name, re.IGNORECASE) is not None


def _tagged(text: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    for pattern in (_TAG, _ATTRIBUTE):
        for name, value in pattern.findall(text):
            if wanted(name.lower()):
                yield value


def _written(text: str) -> Iterator[str]:
    """Yield the numbers of labelled lines and of sentences that give a score, and a number that stands alone."""
    if alone := _ALONE.match(text):
        yield alone["points"]
        return
    strict = [found for pattern in (_LABELLED, _GIVEN) for found in pattern.finditer(text)]
    for found in strict:
        start = found.start("points")
        before = re.split(r"\n|(?<=[.!?;])\s", text[max(0, start - _SENTENCE) : start])[-1]
        doubted = _UNMEANT.search(before) or _DOUBT.search(re.split(r",\s", before)[-1])
        yield "" if doubted else found["points"]
    if strict:
        yield from (found["points"] for found in _ANYWHERE.finditer(text))


def _in_tables(text: str) -> Iterator[str]:
    """Yield the cells of Markdown tables below a header or beside a cell that is called a score."""
    for rows in _tables(text):
        beside = [row[1] for row in rows if len(row) > 1 and _is_score(row[0]) and re.search(r"\d", row[1])]
        below = [row[at] for at, name in enumerate(rows[0]) if _is_score(name) for row in rows[1:] if len(row) > at]
        yield from beside or below


def _tables(text: str) -> Iterator[Sequence[list[str]]]:
    rows: list[list[str]] = []
    for line in [*text.split("\n"), ""]:
        if line.strip().startswith("|") and line.count("|") > 1:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r"[:\-\s]*", cell) for cell in cells):
                rows.append(cells)
        elif rows:
            yield rows
            rows = []


def _scale(text: str) -> int | None:
    """Return the top of the scale that a text names; 0 where it names several."""
    tops = {int(first or second) for first, second in _SCALE.findall(text)}
    return None if not tops else tops.pop() if len(tops) == 1 else 0


def _read(written: str, top: int, scale: int | None, as_points: Callable[[Any, int], int]) -> int | None:
    plain = re.fullmatch(r"\s*\d+(?:[.,]\d+)?\s*", written) is not None
    if plain and scale is not None and scale != top:
        written = f"{written.strip()}/{scale}"
    try:
        return as_points(written, top)
    except ValueError:
        return None

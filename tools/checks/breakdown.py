"""Find the lists in a text that divide a total: ``$2.5M: Amazon $1.2M, Walmart $800K, Target $500K``, lines, tables.

A list is taken for a division only where its form says so: labels beside the amounts, and a total with a word such as
*allocate*, *budget* or *total* near it. What is cautious here keeps a good answer from being capped for nothing.
"""

# ruff: noqa: RUF001 - typographic characters are what this module looks for

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.checks.amounts import Amount, amounts
from tools.checks.text import is_bullet, is_numbered, is_separator, sentences, without_marker

DIVIDES = re.compile(
    r"\b(?:allocat\w+|allot\w*|apportion\w*|assign\w*|breakdown|break(?:s|ing)? down|budget\w*|distribut\w+|divid\w+"
    r"|split\w*|spread\w*|total\w*|altogether|in all|in full)\b",
    re.IGNORECASE,
)
"""Words that say a total is being divided."""
_INCOME = re.compile(r"\b(?:income|salar\w+|earn\w*|wages?|revenues?|sales|profits?)\b", re.IGNORECASE)
_TOTAL = re.compile(r"\b(?:(?:sub-?)?total\w*|sum|altogether|in all|overall|(?:whole|full) budget)\b", re.IGNORECASE)
_WHOLE_BEFORE = re.compile(
    r"\b(?:of|from|out of|with) (?:the|our|your|this|a|an)(?: \w+){0,2} ?$|\b(?:budget|total|sum)(?: of| is|:)? ?$",
    re.IGNORECASE,
)
_WHOLE_AFTER = re.compile(
    r"^ ?(?:(?:\w+ ){0,2}(?:budget|total|fund|pot)\b|in (?:total|all)\b|altogether)", re.IGNORECASE
)
_NOT_A_PART = re.compile(
    r"^\s?(?:/|per\b|each\b|apiece\b|an? (?:month|year|week|day|hour|unit|piece|head)\b|monthly|yearly|weekly|daily"
    r"|more\b|less\b|[-–—]\s?[$€£¥₹\d]|to [$€£¥₹\d]|or\b)",
    re.IGNORECASE,
)
_OPEN_LIST = re.compile(
    r"\b(?:includ\w+|such as|for example|e\.g\.|of which|up to|at least|at most|about half|between|from [$€£¥₹\d])",
    re.IGNORECASE,
)
_SEPARATED = re.compile(r"[,;&+]|\band\b", re.IGNORECASE)
_GOES_TO = re.compile(r"^\s?(?:to|for|on|towards?|into|in|goes|go|is|are|will go|\(|[:–—-])", re.IGNORECASE)
_LABEL_END = re.compile(r"(?:[:=|(–—-]|\b(?:gets?|receives?|takes?))\s*$", re.IGNORECASE)
_MARKUP = str.maketrans({"*": None, "_": None, "`": None})
_LABEL_WORDS = 8
"""A longer run of words before an amount is a sentence, not a label."""


@dataclass(frozen=True)
class Breakdown:
    """Parts of one unit, with the total that stands beside them, where one does.

    Attributes:
        parts: at least two amounts of one unit.
        total: what they should add up to, by the text itself; ``None`` where only the prompt can say.
        divides: whether a word beside the list says that a total is divided.
    """

    parts: tuple[Amount, ...]
    total: Amount | None
    divides: bool

    @property
    def unit(self) -> str:
        """The unit of all parts."""
        return self.parts[0].unit


def breakdowns(text: str) -> list[Breakdown]:
    """Return the lists of labelled amounts of a text: line by line, then within sentences."""
    plain = text.translate(_MARKUP)
    inline = (found for line in plain.split("\n") for part in sentences(line) for found in _in_sentence(part))
    return [*_in_lines(plain), *inline]


def whole(prompt: str, unit: str) -> Amount | None:
    """Return the one amount of a unit that a prompt asks to divide, or ``None``.

    An income is no such amount: not all of it need be spent.
    """
    found = [amount for amount in amounts(prompt) if amount.unit == unit]
    if len({amount.value for amount in found}) != 1 or not DIVIDES.search(prompt):
        return None
    return None if _is_income(prompt, found[0]) else found[0]


def _is_income(text: str, amount: Amount) -> bool:
    return bool(_INCOME.search(text[max(0, amount.start - 40) : amount.end + 40]))


def _in_lines(text: str) -> Iterator[Breakdown]:
    """Yield the lists whose items stand on lines of their own; deeper items explain the ones above them."""
    header, depth = "", 0
    block: list[tuple[str, list[Amount]]] = []
    for line in [*text.split("\n"), "."]:
        indent = len(line) - len(line.lstrip())
        if not line.strip(" |") or is_separator(re.sub("[|:]", "", line)) or (block and indent > depth):
            continue
        item = _line_item(line)
        if item is not None:
            depth = indent if not block else depth
            block.append(item)
            continue
        yield from _from_block(header, block)
        header, block = line, []


def _line_item(line: str) -> tuple[str, list[Amount]] | None:
    """Return a line's label with its leading amount (and the share beside it), or ``None`` where it is no item."""
    bare = without_marker(line).strip().strip("|").strip()
    found = amounts(bare)
    if not found or (bare.count("|") and len({a.unit for a in found}) < len(found)):
        return None
    first, label = found[0], bare[: found[0].start]
    if _NOT_A_PART.match(bare[first.end :]) or _OPEN_LIST.search(label) or len(label.split()) > _LABEL_WORDS:
        return None
    marked = is_bullet(line) or is_numbered(line) or "|" in line
    ends_line = not bare[first.end :].strip(" .;,)") and 1 <= len(label.split()) <= (_LABEL_WORDS if marked else 3)
    if not (_LABEL_END.search(label) or ends_line or (not label.strip() and _GOES_TO.match(bare[first.end :]))):
        return None
    beside = [a for a in found[1:2] if a.unit != first.unit and not re.search(r"\w", bare[first.end : a.start])]
    return label, [first, *beside]


def _from_block(header: str, block: Sequence[tuple[str, list[Amount]]]) -> Iterator[Breakdown]:
    """Yield one breakdown for each unit that two lines or more share."""
    for unit in dict.fromkeys(amount.unit for _, found in block for amount in found):
        rows = [(label, amount) for label, found in block for amount in found if amount.unit == unit]
        totals = [amount for label, amount in rows if _TOTAL.search(label)]
        parts = tuple(amount for label, amount in rows if not _TOTAL.search(label))
        above = [a for a in amounts(header) if a.unit == unit and DIVIDES.search(header) and not _is_income(header, a)]
        if len(parts) < 2 or _OPEN_LIST.search(header):
            continue
        total = totals[0] if len(totals) == 1 else above[0] if len(above) == 1 else None
        yield Breakdown(parts, total, total is not None or bool(DIVIDES.search(header)))


def _in_sentence(sentence: str) -> Iterator[Breakdown]:
    """Yield the lists that stand within one sentence: after a colon, or as ``X to A, Y to B and Z to C``."""
    if _OPEN_LIST.search(sentence):
        return
    found = amounts(sentence)
    for unit in dict.fromkeys(amount.unit for amount in found):
        same = [amount for amount in found if amount.unit == unit]
        totals = [amount for amount in same if _is_whole(sentence, amount)]
        listed = [amount for amount in same if amount not in totals]
        colon = sentence.find(":")
        head = [amount for amount in listed if amount.end <= colon and not _is_income(sentence, amount)]
        listed = [amount for amount in listed if amount.end > colon or amount in head]
        if len(head) == 1 and not totals and DIVIDES.search(sentence[:colon]):
            totals, listed = head, listed[1:]
        after_colon = 0 <= colon < (listed[0].start if listed else 0)
        if len(listed) >= 2 and len(totals) <= 1 and _is_list(sentence, listed, after_colon):
            yield Breakdown(tuple(listed), totals[0] if totals else None, bool(DIVIDES.search(sentence)))


def _is_whole(sentence: str, amount: Amount) -> bool:
    """Whether the words beside an amount call it the total."""
    before, after = sentence[: amount.start], sentence[amount.end :]
    return bool(_WHOLE_BEFORE.search(before) or _WHOLE_AFTER.search(after))


def _is_list(sentence: str, parts: Sequence[Amount], after_colon: bool) -> bool:
    """Whether amounts stand in one list, each with a label of its own."""
    if any(_NOT_A_PART.match(sentence[part.end :]) for part in parts):
        return False
    for part, following in itertools.pairwise(parts):
        between = sentence[part.end : following.start]
        label = _SEPARATED.sub(" ", between)
        if not _SEPARATED.search(between) or not re.search(r"[^\W\d_]", label) or len(label.split()) > 2 * _LABEL_WORDS:
            return False
    goes = all(_GOES_TO.match(sentence[part.end :]) for part in parts)
    return after_colon or goes or _is_bare(sentence, parts)


def _is_bare(sentence: str, parts: Sequence[Amount]) -> bool:
    """Whether a sentence is nothing but short labels with their amounts: ``Search 40%, social 35%, email 25%``."""
    starts = [0, *(part.end for part in parts[:-1])]
    labels = [sentence[start : part.start] for start, part in zip(starts, parts, strict=True)]
    short = all(1 <= len(re.findall(r"[^\W\d_]+", label)) <= 4 for label in labels)
    return short and not re.search(r"\w", sentence[parts[-1].end :])

"""Arithmetic in money and percentages that must add up: equations, shares of an amount, and parts of a total.

A false alarm would cap a good answer, so only plain sums are checked. For anything else the check does not apply: for
ranges, amounts per month, lists that name only some of the parts.
"""

# ruff: noqa: RUF001 - typographic characters are what this module looks for

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from state.records import CheckResult
from tools.checks.amounts import PERCENT, Amount, amounts, money
from tools.checks.breakdown import DIVIDES, Breakdown, breakdowns, whole
from tools.checks.text import normal

MONEY_TOLERANCE = Decimal("0.005")
"""How far a sum of money may differ from the total, as a share of it: three times $333K passes for $1M."""
PERCENT_TOLERANCE = Decimal(1)
"""How many percentage points the sum of rounded shares may differ from 100, at most."""

_PLUS = re.compile(r"\s*(?:\+|plus)\s*", re.IGNORECASE)
_EQUALS = re.compile(r"\s*(?:=|equals|makes|adds up to|add up to|comes to|totals)\s*", re.IGNORECASE)
_OF = re.compile(r"\s*(?:of|×|x|\*)\s+(?:the\s+|a\s+|our\s+|your\s+)?", re.IGNORECASE)
_IS = re.compile(r"\s*(?:=|is|equals|comes to|makes|,? or|,? i\.e\.,?|\()\s*", re.IGNORECASE)
_REST = re.compile(
    r"\b(?:remain\w*|rest|reserv\w*|contingenc\w+|left ?over|buffer|(?:held|hold|set|kept|keep) (?:back|aside))\b",
    re.IGNORECASE,
)

Finding = tuple[bool, str]


def arithmetic(prompt: str, text: str) -> CheckResult:
    """Check every plain sum of a text.

    Args:
        prompt: what was asked; its one amount is the total where it asks to divide it.
        text: the completion.

    Returns:
        Fail with the first sum that does not add up, pass with the last that does, or not applicable.
    """
    plain = normal(text)
    findings = [*_sums(plain), *_shares_of_amounts(plain), *_divisions(prompt, plain)]
    chosen = next((finding for finding in findings if not finding[0]), findings[-1] if findings else None)
    passed, evidence = chosen if chosen is not None else (None, "no sum of money or percentages to check")
    return CheckResult(kind="arithmetic", passed=passed, evidence=evidence, dimension="accuracy")


def _sums(text: str) -> Iterator[Finding]:
    """Yield the findings on equations such as ``$1.2M + $800K = $2M``."""
    found = amounts(text)
    start = 0
    while start < len(found):
        end = start
        while end + 1 < len(found) and _PLUS.fullmatch(text[found[end].end : found[end + 1].start]):
            end += 1
        result = found[end + 1] if end + 1 < len(found) else None
        if end > start and result and _EQUALS.fullmatch(text[found[end].end : result.start]):
            if len({amount.unit for amount in found[start : end + 2]}) == 1:
                yield _compare(found[start : end + 1], result.value, result.text)
        start = end + 1


def _shares_of_amounts(text: str) -> Iterator[Finding]:
    """Yield the findings on shares such as ``20% of $50,000 is $10,000``."""
    found = amounts(text)
    for share, base, result in zip(found, found[1:], found[2:], strict=False):
        fits = share.unit == PERCENT and base.unit == result.unit != PERCENT
        if (
            not fits
            or not _OF.fullmatch(text[share.end : base.start])
            or not _IS.fullmatch(text[base.end : result.start])
        ):
            continue
        true = share.value * base.value / 100
        slack = abs(share.half_step * base.value / 100) + result.half_step + abs(true) * MONEY_TOLERANCE
        right = abs(true - result.value) <= slack
        said = f"{share.text} of {base.text} is {money(true, base.unit)}"
        yield right, said if right else f"{said}, not {result.text}"


def _divisions(prompt: str, text: str) -> Iterator[Finding]:
    """Yield the findings on lists that divide a total: the text's own, the prompt's, or 100 percent."""
    found = breakdowns(text)
    for one in found:
        if one.total is not None and not (one.unit == PERCENT and one.total.value != 100):
            yield _with_rest(text, one, one.total.value, one.total.text)
    asked = DIVIDES.search(prompt) is not None
    for unit in dict.fromkeys(one.unit for one in found):
        same = [one for one in found if one.unit == unit]
        total = whole(prompt, unit)
        if unit == PERCENT:
            open_lists = [one for one in same if one.total is None and (one.divides or asked)]
            yield from _best(text, open_lists, Decimal(100), "100%")
        elif total is not None:
            yield from _best(text, same, total.value, total.text)


def _best(text: str, lists: Sequence[Breakdown], total: Decimal, written: str) -> Iterator[Finding]:
    """Yield one finding: that some list, or all of them together, add up to the total, or how far they are off.

    A text may divide its parts further; only one of its lists has to reach the whole.
    """
    if not lists:
        return
    every = Breakdown(tuple(part for one in lists for part in one.parts), None, divides=True)
    tried = [*lists, every] if len(lists) > 1 else lists
    nearest = min(tried, key=lambda one: abs(sum(part.value for part in one.parts) - total))
    findings = [_with_rest(text, one, total, written) for one in (*tried, nearest)]
    yield next((finding for finding in findings if finding[0]), findings[-1])


def _with_rest(text: str, one: Breakdown, total: Decimal, written: str) -> Finding:
    """Compare a list with its total, and add what the text keeps in reserve if the list alone falls short."""
    finding = _compare(one.parts, total, written)
    if finding[0]:
        return finding
    listed = {part.value for part in one.parts}
    rest = [a for a in amounts(text) if a.unit == one.unit and a.value not in listed and _kept_back(text, a)]
    with_rest = _compare([*one.parts, *rest], total, written) if rest else finding
    return with_rest if with_rest[0] else finding


def _kept_back(text: str, amount: Amount) -> bool:
    return bool(_REST.search(text[max(0, amount.start - 40) : amount.end + 40]))


def _compare(parts: Sequence[Amount], total: Decimal, written: str) -> Finding:
    """Compare a sum with its total, within what rounding can explain."""
    unit = parts[0].unit
    sum_of_parts = sum((part.value for part in parts), Decimal(0))
    if unit == PERCENT:
        slack = min(PERCENT_TOLERANCE, sum((part.half_step for part in parts), Decimal(0)))
    else:
        slack = abs(total) * MONEY_TOLERANCE
    right = abs(sum_of_parts - total) <= slack
    terms = " + ".join(part.text for part in parts)
    return right, f"{terms} = {written if right else f'{money(sum_of_parts, unit)}, not {written}'}"

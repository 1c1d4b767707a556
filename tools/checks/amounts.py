"""Amounts of money and percentages as people write them: ``$2.5M``, ``$1,200,000``, ``2.5 million euros``, ``20%``."""

# ruff: noqa: RUF001 - typographic characters are what this module looks for

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

PERCENT = "%"
"""The unit of a percentage; an amount of money has its currency's code."""

_SIGNS = {"US$": "USD", "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CODES = ("USD", "EUR", "GBP", "JPY", "INR", "CHF", "CAD", "AUD")
_NAMES = {"dollar": "USD", "buck": "USD", "euro": "EUR", "pound": "GBP", "yen": "JPY", "rupee": "INR"}
_SCALES = {"k": 3, "thousand": 3, "m": 6, "mm": 6, "mn": 6, "mio": 6, "million": 6, "b": 9, "bn": 9, "billion": 9}
_SCALES |= {"trillion": 12, "lakh": 5, "crore": 7}

_NUMBER = r"\d{1,3}(?:,\d{2,3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_SCALE = "|".join(sorted(_SCALES, key=len, reverse=True))
_AMOUNT = re.compile(
    rf"""(?<![\w.,$€£¥₹])(?P<minus>[-−](?=[$€£¥₹\d]))?
    (?:(?P<sign>US\$|[$€£¥₹])\s?|(?P<code>{"|".join(_CODES)})\s?[$€£¥₹]?\s?)?
    (?P<number>{_NUMBER})
    (?:[\s-]?(?P<scale>{_SCALE})\b)?
    (?:\s?(?P<percent>%|percent\b|per\ cent\b)
      |\s?(?P<suffix>{"|".join(_CODES)}|[€£₹](?!\s?\d)|(?:{"|".join(_NAMES)})s?)(?!\w))?
    (?![\d%]|[.,]\d)""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Amount:
    """A number with a unit, and where it stands.

    Attributes:
        value: in whole units (dollars, not thousands), or in percent.
        unit: an ISO 4217 code, or ``PERCENT``.
        half_step: half of the last written digit's worth: what rounding may have hidden. 0 for a round figure.
        start: where it begins in the text.
        end: where it ends in the text.
        text: as written.
    """

    value: Decimal
    unit: str
    half_step: Decimal
    start: int
    end: int
    text: str


def amounts(text: str) -> list[Amount]:
    """Return the amounts of money and the percentages of a text in order; bare numbers are neither."""
    return [found for match in _AMOUNT.finditer(text) if (found := _amount(match)) is not None]


def _amount(match: re.Match[str]) -> Amount | None:
    unit = _unit(match)
    if unit is None:
        return None
    written = match["number"].replace(",", "")
    scale = Decimal(10) ** _SCALES[match["scale"].lower()] if match["scale"] else Decimal(1)
    decimals = len(written.partition(".")[2])
    value = Decimal(written) * scale * (-1 if match["minus"] else 1)
    step = scale / 10**decimals
    half_step = Decimal(0) if value % (5 * step) == 0 else step / 2
    return Amount(value, unit, half_step, match.start(), match.end(), match.group().strip())


def _unit(match: re.Match[str]) -> str | None:
    if match["percent"]:
        return PERCENT
    if match["sign"]:
        return _SIGNS[match["sign"].upper()]
    if match["code"]:
        return match["code"].upper()
    suffix = (match["suffix"] or "").lower()
    return _SIGNS.get(suffix) or _NAMES.get(suffix.rstrip("s")) or (suffix.upper() if suffix else None)


def money(value: Decimal, unit: str) -> str:
    """Return an amount in plain figures: ``$2,500,000``, ``20%``, ``CHF 1,200.50``."""
    figure = f"{value:,f}"
    figure = figure.rstrip("0").rstrip(".") if "." in figure else figure
    if unit == PERCENT:
        return f"{figure}%"
    sign = next((sign for sign, code in _SIGNS.items() if code == unit and len(sign) == 1), f"{unit} ")
    return f"{sign}{figure}"

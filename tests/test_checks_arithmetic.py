"""Sums of money and percentages: formats, divisions of a total, and what must be left alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.checks.amounts import amounts, money
from tools.checks.arithmetic import arithmetic

SPLIT = "Allocate a budget of $2.5M across Amazon, Walmart and Target."


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("$1,200,000", "1200000", "USD"),
        ("$2.5M", "2500000", "USD"),
        ("$ 800K", "800000", "USD"),
        ("US$800k", "800000", "USD"),
        ("2.5 million dollars", "2500000", "USD"),
        ("$2.5 million", "2500000", "USD"),
        ("$2.5-million", "2500000", "USD"),
        ("3 bucks", "3", "USD"),
        ("USD 500", "500", "USD"),
        ("1.2bn EUR", "1200000000", "EUR"),
        ("€1.2bn", "1200000000", "EUR"),
        ("20 €", "20", "EUR"),
        ("£3k", "3000", "GBP"),
        ("₹5 lakh", "500000", "INR"),
        ("¥1000", "1000", "JPY"),
        ("-$40", "-40", "USD"),
        ("$12.50", "12.50", "USD"),
        ("20%", "20", "%"),
        ("12.5 percent", "12.5", "%"),
        ("33 per cent", "33", "%"),
    ],
)
def test_amounts_are_read_as_written(text: str, value: str, unit: str) -> None:
    (found,) = amounts(f"It is {text}, they say.")
    assert (found.value, found.unit) == (Decimal(value), unit)
    assert found.text == text


@pytest.mark.parametrize(
    "text", ["in 2024", "5 apples", "version 1.2.3", "10 km", "3 Mb", "a $ sign", "room 12b", "12:30"]
)
def test_bare_numbers_are_no_amounts(text: str) -> None:
    assert amounts(text) == []


def test_money_is_written_in_plain_figures() -> None:
    assert money(Decimal("2500000"), "USD") == "$2,500,000"
    assert money(Decimal("2.5E+6"), "CHF") == "CHF 2,500,000"
    assert money(Decimal("12.50"), "%") == "12.5%"


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("", "Allocate $2.5M: Amazon $1.2M, Walmart $800K, Target $500K"),
        (SPLIT, "Amazon $1.2M, Walmart $800K, Target $500K."),
        (SPLIT, "We give $1.2 million to Amazon, $800,000 to Walmart and $0.5M to Target."),
        (SPLIT, "- Amazon: $1.2M (48%)\n- Walmart: $800K (32%)\n- Target: $500K (20%)"),
        (
            SPLIT,
            "1. **Amazon** - $1.2M: search ads.\n2. **Walmart** - $800K: displays at $3 each.\n3. **Target** - $500K",
        ),
        (SPLIT, "- $1.2M for Amazon\n- $800K for Walmart\n- $500K for Target\n\nThis stays within the $2.5M."),
        (SPLIT, "Amazon: $1.2M\n  - Search: $700K\n  - Display: $500K\nWalmart: $800K\nTarget: $500K"),
        (SPLIT, "- Amazon: $1.2M\n- Walmart: $800K\n- Target: $300K\n\nThe remaining $200K is held in reserve."),
        (
            SPLIT,
            "| Retailer | Money |\n|---|---|\n| Amazon | $1,200,000 |\n| Walmart | $800,000 |\n| Target | $500,000 |",
        ),
        (SPLIT, "First wave: Amazon $1.2M, Walmart $800K. Second wave: Target $400K, own shop $100K."),
        ("", "Of the $2.5M budget, $1.2M goes to Amazon, $800K to Walmart and $500K to Target."),
        ("", "Rent: $900\nFood: $450\nFun: $150\nTotal: $1,500"),
        ("", "Total budget: $1M\n- North: $333K\n- South: $333K\n- West: $333K"),
        ("Break down the marketing mix.", "Search 40%, social 35%, email 25%"),
        ("Split our time.", "- Sales: 33%\n- Service: 33%\n- Product: 33%"),
        ("", "$1.2M + $800K + 0.5 million dollars = $2.5M"),
        ("", "In all, 20% of $50,000 is $10,000."),
        ("", "33% of $10,000 is $3,333."),
    ],
)
def test_what_adds_up_passes(prompt: str, text: str) -> None:
    result = arithmetic(prompt, text)
    assert result.passed is True, result.evidence
    assert result.dimension == "accuracy" and result.kind == "arithmetic"


@pytest.mark.parametrize(
    ("prompt", "text", "evidence"),
    [
        (
            "",
            "Allocate $2.5M: Amazon $1.2M, Walmart $800K, Target $600K",
            "$1.2M + $800K + $600K = $2,600,000, not $2.5M",
        ),
        (SPLIT, "Amazon $1.2M, Walmart $800K, Target $600K.", "$2,600,000, not $2.5M"),
        (SPLIT, "We give $1.2M to Amazon, $800K to Walmart and $400K to Target.", "$2,400,000, not $2.5M"),
        (SPLIT, "- Amazon: $1.2M\n- Walmart: $800K\n- Target: $300K\n\nThe remaining $100K is a reserve.", "not $2.5M"),
        (SPLIT, "| Amazon | $1.2M |\n| Walmart | $800K |\n| Target | $700K |", "$2,700,000, not $2.5M"),
        ("", "Rent: $900\nFood: $450\nFun: $150\nTotal: $1,600", "$1,500, not $1,600"),
        (SPLIT, "Amazon: $1.2M\nWalmart: $800K\nTarget: $200K\nTotal: $2.2M", "not $2.5M"),
        ("Break down the marketing mix.", "Search 40%, social 35%, email 30%", "40% + 35% + 30% = 105%, not 100%"),
        ("", "$1.2M + $800K = $2.5M", "= $2,000,000, not $2.5M"),
        ("", "20% of $50,000 is $12,000.", "20% of $50,000 is $10,000, not $12,000"),
    ],
)
def test_what_does_not_add_up_fails_with_the_true_sum(prompt: str, text: str, evidence: str) -> None:
    result = arithmetic(prompt, text)
    assert result.passed is False, result.evidence
    assert evidence in result.evidence


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("", "Sales grew 20% in the North, 30% in the South and 5% in the West."),
        (SPLIT, "Spend between $1M and $1.4M on Amazon, and $500K-$800K on Walmart."),
        (SPLIT, "Start with Amazon: it has the largest share, about 40% of online sales."),
        (SPLIT, "We plan several channels, including Amazon ($1.2M) and Walmart ($800K)."),
        ("", "Plans: Basic $10 per month, Pro $25 per month. In total, two plans."),
        ("Make a budget for an income of $4,000.", "Rent: $1,500\nFood: $600\nFun: $300"),
        ("Raise the price from $10 to $12.", "The new price is $12, up from $10."),
        ("Allocate $100K.", "Put €40,000 into ads and €30,000 into events."),
        ("", "The budget of $5M was approved in 2023."),
        ("", ""),
    ],
)
def test_what_is_no_plain_sum_is_left_alone(prompt: str, text: str) -> None:
    result = arithmetic(prompt, text)
    assert result.passed is None, result.evidence


NAMES = ("Amazon", "Walmart", "Target", "Costco", "Kroger", "Aldi")
STYLES = (
    lambda pairs: ", ".join(f"{name} {amount}" for name, amount in pairs),
    lambda pairs: "\n".join(f"- {name}: {amount}" for name, amount in pairs),
    lambda pairs: "\n".join(f"{n}. **{name}**: {amount}" for n, (name, amount) in enumerate(pairs, start=1)),
    lambda pairs: "| Retailer | Share |\n|---|---|\n" + "\n".join(f"| {name} | {amount} |" for name, amount in pairs),
    lambda pairs: (
        f"We give {', '.join(f'{amount} to {name}' for name, amount in pairs[:-1])} "
        f"and {pairs[-1][1]} to {pairs[-1][0]}."
    ),
    lambda pairs: "\n\n".join(f"- {amount} for {name}" for name, amount in pairs),
)
FORMATS = (
    lambda thousands: f"${thousands}K",
    lambda thousands: f"${thousands * 1000:,}",
    lambda thousands: f"{thousands * 1000} dollars",
    lambda thousands: f"USD {thousands * 1000:,}",
    lambda thousands: f"${thousands / 1000:g} million",
)


@given(
    st.lists(st.integers(10, 5000), min_size=2, max_size=6),
    st.sampled_from(STYLES),
    st.sampled_from(FORMATS),
    st.sampled_from(FORMATS),
    st.integers(2, 30),
)
def test_any_division_is_verified_in_any_style(parts, style, part_format, total_format, error) -> None:  # type: ignore[no-untyped-def]
    """The parts pass with their sum as the total, and fail with a total that is off by 2% or more."""
    total = sum(parts)
    text = style([(name, part_format(part)) for name, part in zip(NAMES, parts, strict=False)])
    right = arithmetic(f"Split a budget of {total_format(total)} over the retailers.", text)
    assert right.passed is True, right.evidence
    off = total + max(1, total * error // 100)
    wrong = arithmetic(f"Split a budget of {total_format(off)} over the retailers.", text)
    assert wrong.passed is False, wrong.evidence


@given(st.text(alphabet="$€%0123456789.,KMk million to:;-|\n()+=and of", max_size=120), st.text(max_size=60))
def test_no_text_breaks_the_arithmetic(text: str, prompt: str) -> None:
    assert arithmetic(prompt, text).passed in (True, False, None)

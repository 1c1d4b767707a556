"""A phrase is counted as its pattern finds it, whether or not the pattern is needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.checks.text import count_phrase, phrase_pattern, straight

WORDS = st.sampled_from(
    ["May", "contain", "nuts", "NUTS", "a", "ab", "\u017fun", "sun", "\u212aind", "kind", "\u00e9t\u00e9", "-", ""]
)
SPACES = st.sampled_from([" ", "  ", "\n", "\u00a0"])


@st.composite
def texts(draw: st.DrawFn) -> str:
    return "".join(draw(WORDS) + draw(SPACES) for _ in range(draw(st.integers(0, 6)))).strip()


@given(texts(), texts())
def test_the_short_way_counts_what_the_pattern_finds(phrase: str, text: str) -> None:
    assert count_phrase(phrase, text) == len(phrase_pattern(phrase).findall(straight(text)))


def test_a_phrase_that_is_not_there_needs_no_pattern() -> None:
    phrase_pattern.cache_clear()
    assert count_phrase("guaranteed returns", "Nothing of the kind.") == 0
    assert phrase_pattern.cache_info().currsize == 0

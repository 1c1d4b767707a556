r"""Foreign text as a person may see it: what would steer a terminal, or hide, is shown as an escape, ``\x1b``."""

from __future__ import annotations

import unicodedata

HIDDEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
"""Letters and marks without a shape; Unicode calls them ignorable, and Python printable."""
SELECTORS = range(0xE0100, 0xE01F0)
"""Variation selectors in which text can be hidden."""


def visible(text: str, *, keep: str = "\n\t") -> str:
    """Return a text whose control, bidirectional, zero-width and separating characters and lone surrogates are escaped.

    Spaces of any width stay, and so do the selectors that follow an emoji.

    Args:
        text: any text, such as a model's answer or a server's error.
        keep: control characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _has_a_shape(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(text: str) -> str:
    """Return a text as one visible line."""
    return visible(text, keep="")


def _has_a_shape(character: str) -> bool:
    if character.isprintable():
        return character not in HIDDEN and ord(character) not in SELECTORS
    return unicodedata.category(character) == "Zs"

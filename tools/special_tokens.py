"""Marks that chat templates put around turns, and that are no part of an answer: those of a model's own and others'."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"</?s>|<\|/?[a-z][\w\u2581 ./-]{0,40}\|>|<\uff5c[^<>\uff5c]{1,40}\uff5c>|</?(?:start|end)_of_turn>|<turn\|>"
    r"|</?(?:eos|bos|pad|eot|eoa|end_of_utterance)>|\[/?INST\]|\[\|endofturn\|\]|<</?SYS>>",
    re.IGNORECASE,
)
"""Any such mark. ``<|name|>`` is the form of most of them, so names that come later are known too."""
_LONGEST = 48


def without_end_tokens(text: str) -> str:
    """Return a text without the marks at its end, and as it is where there are none."""
    kept = end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        tail = text[max(0, end - _LONGEST) : end]
        last = next((mark for mark in TOKEN.finditer(tail) if mark.end() == len(tail)), None)
        if last is None:
            return text[:kept]
        kept = end = end - len(last.group())
        while kept and text[kept - 1].isspace():
            kept -= 1


def first_turn(text: str) -> str:
    """Return a text up to its first mark: behind it the model goes on in another's name."""
    return TOKEN.split(text, maxsplit=1)[0]

"""What a model says, apart from its thinking and its end tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from tools.special_tokens import without_end_tokens

_WORDS = r"(?:[\w-]{1,20}:)?(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)"
_PAIRS = (
    (rf"<\s?{_WORDS}(?:\s[^<>]{{0,80}})?>", rf"<\s?/\s?{_WORDS}\s?>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"\u25c1think\u25b7", r"\u25c1/think\u25b7"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<unused94>", r"<unused95>"),
    (r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<]{0,80}<\|message\|>", r"<\|end\|>"),
)
"""Marks before and behind thinking: of R1 and its like, Magistral, Kimi, Sky-T1, Command A, MedGemma and gpt-oss."""
_MARKS = tuple(re.compile(f"(?P<opens>{opens})|(?P<closes>{closes})", re.IGNORECASE) for opens, closes in _PAIRS)
_END_OF_ANY_TURN = _MARKS[-1]
_TAGGED_ANSWER = re.compile(r"\A\s*<answer>(.*)</answer>\s*\Z", re.DOTALL | re.IGNORECASE)
_OPENING = re.compile(
    r"\A\s*(?:(?:<\|start\|>assistant)?<\|channel\|>final[^<]{0,80}<\|message\|>|<\|START_RESPONSE\|>"
    r"|<\|begin_of_solution\|>|<\|im_start\|>assistant\s|<\|start_header_id\|>assistant<\|end_header_id\|>"
    r"|<start_of_turn>model\s)\s*"
)
"""What templates put before an answer; a server that knows them leaves them out."""


class Spoken(NamedTuple):
    """A completion's text in parts."""

    text: str
    """The answer."""
    thinking: bool
    """Whether thinking stood in it and was left out."""


def spoken(completion: str) -> Spoken:
    """Return what a completion says: without blocks of thinking, and without a template's marks around the answer.

    Servers without a reasoning parser leave ``<think>...</think>`` in the text, or its end alone where the template
    opens it; an answer that never left its thinking says nothing. Templates of other models leave their end tokens.
    """
    text = completion
    for marks in _MARKS:
        text = _without_blocks(text, marks)
    thinking = text != completion
    if thinking and (tagged := _TAGGED_ANSWER.match(text)):
        text = tagged.group(1).strip()
    text = without_end_tokens(_OPENING.sub("", text))
    return Spoken(text.lstrip() if thinking else text, thinking)


def _without_blocks(text: str, marks: re.Pattern[str]) -> str:
    """Return a text without what stands between two marks; before an end without a beginning, all is thinking."""
    kept: list[str] = []
    after, opened = 0, -1
    for mark in marks.finditer(text):
        if mark.lastgroup == "opens":
            if opened < 0:
                opened = mark.start()
                kept.append(text[after:opened])
        elif opened >= 0:
            after, opened = mark.end(), -1
        elif marks is not _END_OF_ANY_TURN:
            kept.clear()
            after = mark.end()
    if opened >= 0:
        return "".join(kept) + text[opened:] if "".join(kept).strip() else ""
    return "".join(kept) + text[after:]

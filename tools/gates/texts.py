"""What the gates' rules ask of a text, whatever the preset."""

from __future__ import annotations

import re

NO_INPUT_MARK = re.compile(r"\bnoinputs?\b|<\s*no[\s_-]inputs?\s*>", re.IGNORECASE)
"""Self-Instruct's mark for no input, where it was left in one."""
PLACEHOLDER = re.compile(
    r"\s*(?:<[\w\s/-]{1,60}>"
    r"|[\[({<]\s*(?:(?:insert|your|any|some|add|paste|enter|provide)\b[^\])}>]*"
    r"|[^\])}>,;]*\b(?:image|picture|photo|figure|table|link|file|attached|attachment|provided|omitted|here)\b[^\])}>,;]*)[\])}>]"
    r"|(?:\.\s*){3,}|…|_{2,}|x{3,}|lorem ipsum\b.*|(?:insert|paste|enter)\s+\w+(?:\s+\w+){0,4}\s+here\.?|tbd|todo)\s*",
    re.IGNORECASE | re.DOTALL,
)
"""An input or output that stands for one."""
_CANNOT = r"(?:can(?:no|')t|can\s+not|unable|not\s+able|won't\s+be\s+able)"
_REFUSAL = re.compile(
    rf"\s*(?:(?:i'?m\s+|i\s+am\s+)?(?:\w+\s+)?(?:sorry|afraid|unfortunately|i\s+apologi[sz]e)\b[^.!?]{{0,60}}\b{_CANNOT}\b"
    r"|(?:i'm\s+)?sorry,\s+(?:but\s+)?(?:the|this)\s+(?:task|request|question)\b"
    rf"|as\s+an?\s+(?:ai|artificial|large\s+language|language)\b[^.!?]{{0,60}}\b(?:{_CANNOT}|do\s+not|don't|am\s+not)\b"
    rf"|(?:i|we)\s+(?:am\s+|are\s+)?{_CANNOT}\s+(?:to\s+)?(?:help|assist|answer|provide|fulfil|complete|access|comply)\b)",
    re.IGNORECASE,
)
ASKS_FOR_INPUT = re.compile(
    r"\s*(?:please|could\s+you|can\s+you|kindly)\s+(?:please\s+)?(?:provide|share|give|supply|enter|specify)\b[^.?!]{0,80}"
    r"\b(?:text|sentence|input|passage|information|details|list|article|data|context|code|paragraph)\b",
    re.IGNORECASE,
)
"""An output that opens by asking for what it should work on."""
NEXT_TASK = re.compile(r"(?:^|\n)[# \t]*(?:\d+\s*[.)]\s*instruction|#+\s*(?:instruction|response))\s*:", re.IGNORECASE)
"""The head of the next task of a generated list."""
_NO_INPUT = re.compile(
    r"[\W_]*(?:no[\W_]*inputs?(?:[\W_]+(?:is\s+)?(?:required|needed|necessary|given|provided))?|n\s*/\s*a|none)[\W_]*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def is_missing_input(text: str) -> bool:
    """Return whether an input says that there is none, such as ``<noinput>``, ``No input required.`` or ``N/A``."""
    return len(text) <= 60 and _NO_INPUT.fullmatch(text) is not None


def input_fault(given: str) -> str | None:
    """Return what is wrong with an input that says, in whole or in part, that there is none; ``None`` for any other."""
    if is_missing_input(given):
        return f"the input only says {given.strip()!r}; an empty one was meant"
    mark = NO_INPUT_MARK.search(given)
    return f"{mark.group()!r} is left in the input" if mark else None


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def refusal_in(output: str) -> str | None:
    """Return the words with which an output declines, if it begins with such."""
    refusal = _REFUSAL.match(output)
    return refusal.group().strip() if refusal else None


def repeated_share(text: str, n: int = 4) -> float:
    """Return the share in [0, 1) of a text's word ``n``-grams that stood in it before; 0 for fewer than two of them."""
    words = words_of(text)
    total = len(words) - n + 1
    if total < 2:
        return 0.0
    return 1 - len({tuple(words[start : start + n]) for start in range(total)}) / total


def broken_letters(text: str) -> str | None:
    """Return the first letters that a wrong encoding made of others, such as ``Ã©`` for an e with an accent."""
    if text.isascii():
        return None
    from ftfy.badness import BADNESS_RE, is_bad  # here, since most texts are ASCII and a run without rows asks of none

    lost = "\ufffd" if "\ufffd" in text else None
    return lost or next((match.group() for match in BADNESS_RE.finditer(text) if is_bad(text)), None)

"""What a model says, apart from its thinking and its end tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

_THINKING = re.compile(r"<(think|thinking|thought|reasoning|reflection)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_BEFORE = re.compile(r"\A.*</(?:think|thinking|thought|reasoning|reflection)>", re.DOTALL | re.IGNORECASE)
_THOUGHT_ON = re.compile(r"\A\s*<(?:think|thinking|thought|reasoning|reflection)>.*\Z", re.DOTALL | re.IGNORECASE)
_END_TOKENS = (
    r"</s>|<\|im_end\|>|<\|eot_id\|>|<\|end_of_text\|>|<\|endoftext\|>|<\|end\|>|<end_of_turn>|<eos>|\[/INST\]"
    r"|<\uff5cend\u2581of\u2581sentence\uff5c>|<\|return\|>|<\|eom_id\|>|<\|END_OF_TURN_TOKEN\|>"
)
_END = re.compile(rf"(?:\s*(?:{_END_TOKENS}))+\s*\Z")
_WITHIN = re.compile(_END_TOKENS)


class Spoken(NamedTuple):
    """A completion's text in parts."""

    text: str
    """The answer."""
    thinking: bool
    """Whether thinking stood in it and was left out."""
    end_tokens: bool
    """Whether end tokens stood at its end and were left out."""


def spoken(completion: str) -> Spoken:
    """Return what a completion says: without blocks of thinking, and without end tokens at its end.

    Servers without a reasoning parser leave ``<think>...</think>`` in the text, or its end alone where the template
    opens it; an answer that never left its thinking says nothing. Templates of other models leave their end tokens.
    """
    text = _THINKING.sub("", completion)
    text = _THOUGHT_BEFORE.sub("", text)
    text = _THOUGHT_ON.sub("", text)
    thinking = text != completion
    ended = _END.sub("", text)
    return Spoken(ended.lstrip() if thinking else ended, thinking, ended != text)


def end_token_within(text: str) -> str | None:
    """Return an end token that stands inside a text, where turns ran together; ``None`` where there is none."""
    found = _WITHIN.search(text)
    return found.group() if found else None

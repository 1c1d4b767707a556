"""One prompt for training, answering and evaluation: the model's own chat template, or Alpaca's where it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from state.errors import BadInput

ALPACA = Path(__file__).with_name("alpaca.jinja")
"""Alpaca's format (Taori et al. 2023): the words are a part of it, and a model tuned on others would not know them."""


def load_tokenizer(base: Path, padding_side: str = "right") -> Any:
    """Return a base's tokenizer with a pad token and a chat template.

    Args:
        base: a local Hugging Face folder.
        padding_side: ``right`` to train, ``left`` to generate.

    Raises:
        BadInput: it has neither a chat template nor an end token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, padding_side=padding_side)
    if not tokenizer.chat_template:
        tokenizer.chat_template = alpaca_template(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def alpaca_template(tokenizer: Any) -> str:
    """Return Alpaca's format for a tokenizer: with its begin token in front, where it writes one by itself.

    Raises:
        BadInput: the tokenizer has no end token, so that an answer could not end.
    """
    if tokenizer.eos_token is None:
        raise BadInput(f"models.base: the tokenizer of {tokenizer.name_or_path} has no end token, so no answer can end")
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return ("{{- bos_token -}}" if begins else "") + ALPACA.read_text(encoding="utf-8")


def user_turn(prompt: str, input_: str = "") -> dict[str, str]:
    """Return a prompt as a chat turn.

    Args:
        prompt: the whole text, the input at its end where it has one.
        input_: the input again, for templates that set it apart; chat templates of other models look past it.
    """
    turn = {"role": "user", "content": prompt}
    return turn | {"input": input_} if input_ else turn

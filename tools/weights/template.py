"""The one place that renders a prompt: by the model's own chat template, or in Alpaca's format where it has none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from state.errors import BadInput
from tools.weights.trust import code_options

ALPACA = Path(__file__).with_name("alpaca.jinja")
"""Alpaca's format (Taori et al. 2023): the words are a part of it, and a model tuned on others does not know them."""
TODAY = date(2026, 1, 1)
"""The day that a template which names today's date is given. Were it the clock's, a run that goes on tomorrow would ask
another prompt than it began with."""
IGNORED = -100
"""The label that PyTorch's cross-entropy leaves out."""


class TokenRow(NamedTuple):
    """One tokenised row of SFT."""

    input_ids: list[int]
    labels: list[int]
    """The completion's tokens including the end token; ``IGNORED`` before them."""


def load_tokenizer(base: Path, padding_side: str = "right") -> Any:
    """Return a base's tokenizer with a pad token and a chat template.

    Args:
        base: a local Hugging Face folder.
        padding_side: ``right`` to train, ``left`` to generate.

    Raises:
        BadInput: it has neither a chat template nor an end token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, padding_side=padding_side, **code_options(base))
    if not tokenizer.chat_template:
        tokenizer.chat_template = alpaca_template(tokenizer)
    if isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = without_clock(tokenizer.chat_template)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def alpaca_template(tokenizer: Any) -> str:
    """Return Alpaca's format for a tokenizer: with its begin token in front, if it adds one by itself.

    Raises:
        BadInput: the tokenizer has no end token, so that an answer could not end.
    """
    if tokenizer.eos_token is None:
        raise BadInput(f"models.base: the tokenizer of {tokenizer.name_or_path} has no end token, so no answer can end")
    begins = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return ("{{- bos_token -}}" if begins else "") + ALPACA.read_text(encoding="utf-8")


def alpaca_prompt(instruction: str, given: str = "") -> str:
    """Return Alpaca's prompt for an instruction, with an input under it where there is one."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    turn = {"role": "user", "content": f"{instruction}\n\n{given}" if given else instruction, "input": given}
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)  # as transformers renders it
    return environment.from_string(ALPACA.read_text(encoding="utf-8")).render(messages=[turn])


def without_clock(template: str) -> str:
    """Return a chat template that names ``TODAY`` where it would ask the clock, as Llama 3's and Mistral's do."""
    return re.sub(r"""strftime_now\((["'])(.*?)\1\)""", lambda call: f'"{TODAY.strftime(call[2])}"', template)


def render(tokenizer: Any, turns: Sequence[Mapping[str, str]]) -> str:
    """Return chat turns as the text that the model reads before it answers, the assistant's header included.

    Raises:
        BadInput: the template refuses them, or is broken.
    """
    return _applied(tokenizer, turns, add_generation_prompt=True)


def _applied(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=add_generation_prompt, tokenize=False
        )
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"the base model's chat template does not render a prompt: {reason}") from error
    return text


def prompt_tokens(tokenizer: Any, turns: Sequence[Mapping[str, str]]) -> list[int]:
    """Return the tokens of what ``render`` returns."""
    tokens: list[int] = tokenizer(render(tokenizer, turns), add_special_tokens=False)["input_ids"]
    return tokens


def template_head(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that a chat template sets before a user's prompt, such as a system turn."""
    return shared_head(
        [tuple(prompt_tokens(tokenizer, [{"role": "user", "content": text}])) for text in ("A", "7", "b")]
    )


def shared_head(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the tokens that all prompts begin with, leaving at least one of each prompt's own."""
    if not prompts:
        return ()
    # What the first and the last in lexical order have in common, all between them have.
    least, most = min(prompts), max(prompts)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
    return tuple(token for token, _ in alike)[: min(map(len, prompts)) - 1]


def template_marks(tokenizer: Any) -> tuple[str, ...]:
    """Return the lines that a chat template sets directly before a prompt and between it and the answer.

    A text with one of them was rendered by a template before; a model trained on it would see what it is never asked.
    """
    text = "What is asked?"
    turns = [{"role": "user", "content": text}]
    before, _, after = render(tokenizer, turns).rpartition(text)
    head, tail = ([line.strip() for line in part.splitlines() if line.strip()] for part in (before, after))
    return tuple(dict.fromkeys(head[-1:] + tail))


def tokenise(tokenizer: Any, prompt: list[dict[str, str]], completion: list[dict[str, str]]) -> TokenRow:
    """Tokenise one row by the model's own chat template.

    The prompt is exactly what the model sees when it is asked, the assistant's header included. The completion ends
    with the end token: what a template writes after it (SmolLM2 adds a newline) is never asked of the model.

    Raises:
        BadInput: the template does not render the prompt as a prefix of prompt and completion, so that training
            would show the model another prompt than the one it is asked.
    """
    asked = render(tokenizer, prompt)
    whole = _applied(tokenizer, prompt + completion, add_generation_prompt=False)
    if not whole.startswith(asked):
        raise BadInput("the base model's chat template renders a prompt differently with and without its answer")
    # Tokenised apart: together, the completion's first letters could merge with the header's last token.
    before = tokenizer(asked, add_special_tokens=False)["input_ids"]
    after = tokenizer(whole[len(asked) :], add_special_tokens=False)["input_ids"]
    if tokenizer.eos_token_id not in after:
        raise BadInput("the base model's chat template does not end an answer with the tokenizer's end token")
    while after[-1] != tokenizer.eos_token_id:
        after.pop()
    return TokenRow(before + after, [IGNORED] * len(before) + after)

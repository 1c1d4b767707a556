"""How likely a model finds given texts. A text's figures are the same whatever else is asked.

Texts behind one prompt are scored after each other, and the prompt is read once. It is read by itself even for one
text, since to read both at once would round in another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tools.weights.protocol import Score, Scored
from tools.weights.template import IGNORED, TokenRow, prompt_tokens, tokenise


@dataclass
class _Prompt:
    """A prompt that was read.

    Attributes:
        tokens: the prompt.
        cache: its keys and values; what reads on must cut off again what it added.
        logits: of the token after it, shape (1, vocabulary).
    """

    tokens: list[int]
    cache: Any
    logits: Any


def score(model: Any, tokenizer: Any, asked: Sequence[Score]) -> Iterator[Scored]:
    """Yield the log-likelihoods of texts, those behind one prompt together.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, as ``load_tokenizer`` gives it.
        asked: the texts. One that cannot be rendered fails the whole call; ask each alone to find it.

    Raises:
        BadInput: the chat template does not render the turns as a prefix of turns and completion.
    """
    rows = [(one, _row(tokenizer, one)) for one in asked]
    read: _Prompt | None = None
    for one, row in sorted(rows, key=lambda pair: (pair[0].with_end, pair[1].input_ids)):
        told = [label for label in row.labels if label != IGNORED]
        before = row.input_ids[: len(row.input_ids) - len(told)]
        if one.with_end or one.next_words or not before:
            # Every held-out text has a prompt of its own: one pass is cheaper.
            yield _scored(tokenizer, one, row, _logits(model, row.input_ids, len(told) + 1))
            continue
        if read is None or read.tokens != before:
            read = _read(model, before)
        logits = _logits(model, row.input_ids, len(told) + 1) if read is None else _behind(model, read, told)
        yield _scored(tokenizer, one, row, logits)


def _row(tokenizer: Any, one: Score) -> TokenRow:
    """Return turns and completion as tokens; tokens that do not count are labelled ``IGNORED``."""
    turns = [dict(turn) for turn in one.turns]
    if one.with_end:
        return tokenise(tokenizer, turns, [{"role": "assistant", "content": one.completion}])
    before = prompt_tokens(tokenizer, turns)
    after = tokenizer(one.completion, add_special_tokens=False)["input_ids"] if one.completion else []
    return TokenRow([*before, *after], [IGNORED] * len(before) + after)


def _read(model: Any, tokens: list[int]) -> _Prompt | None:
    """Return a prompt that was read; ``None`` where its cache cannot be cut, as with sliding windows or recurrences."""
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache()
    with torch.inference_mode():
        ids = torch.tensor([tokens], device=model.device)
        found = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    if found.past_key_values is not cache or not cache.layers:
        return None
    plain = all(type(layer) is DynamicLayer for layer in cache.layers)
    return _Prompt(tokens, cache, found.logits[0]) if plain and cache.get_seq_length() == len(tokens) else None


def _behind(model: Any, read: _Prompt, told: list[int]) -> Any:
    """Return the logits of each token of a text behind a prompt."""
    import torch

    if len(told) < 2:
        return read.logits
    with torch.inference_mode():
        ids = torch.tensor([told[:-1]], device=model.device)
        logits = model(input_ids=ids, past_key_values=read.cache, use_cache=True).logits[0]
    read.cache.crop(1 - len(told))
    return torch.cat([read.logits, logits])


def _logits(model: Any, tokens: list[int], keep: int) -> Any:
    import torch

    with torch.inference_mode():
        ids = torch.tensor([tokens], device=model.device)
        # The logits at a position belong to the token after it; no other position meets the LM head.
        return model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits[0]


def _scored(tokenizer: Any, one: Score, row: TokenRow, logits: Any) -> Scored:
    """Return a text's figures from the logits of its tokens."""
    import torch

    told = [label for label in row.labels if label != IGNORED]
    with torch.inference_mode():
        after = logits.float().log_softmax(-1)
        words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in one.next_words]
        return Scored(
            number=one.number,
            log_likelihood=float(after[torch.arange(len(told)), torch.tensor(told, dtype=torch.long)].double().sum()),
            tokens=len(told),
            next_words=tuple(after[0, words].tolist()),
            prompt_tokens=len(row.labels) - len(told),
        )

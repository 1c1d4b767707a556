"""Greedy decoding of a batch: what ``generate`` gives, with finished rows taken out and handed on at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

SHRINK_AT = 0.8
"""The batch is cut down to its living rows when their share falls to this: a cut copies the whole cache."""


class Decoded(NamedTuple):
    """One finished row."""

    row: int
    tokens: list[int]
    """The end token not among them."""
    ended: bool
    """Whether the model ended by itself, rather than at the token limit."""


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end an answer: the generation configuration's, one or several, and the tokenizer's."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)


@torch.inference_mode()
def decode_greedily(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, ends: frozenset[int], max_tokens: int
) -> Iterator[Decoded]:
    """Yield each row as soon as it is finished. Tokens are those of ``generate(do_sample=False)``.

    Args:
        model: a causal language model with a key-value cache.
        input_ids: prompts padded on the left, shape (rows, positions).
        attention_mask: 0 on padding, of the same shape.
        ends: ids that end a row.
        max_tokens: tokens of a row at most, at least 1.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    rows = list(range(len(input_ids)))
    written: list[list[int]] = [[] for _ in rows]
    done: set[int] = set()
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    for length in range(1, max_tokens + 1):
        logits = model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        input_ids = logits[:, -1:].argmax(-1)
        for row, token in zip(rows, input_ids[:, 0].tolist(), strict=True):
            if row in done:
                continue
            if token not in ends:
                written[row].append(token)
            if token in ends or length == max_tokens:
                done.add(row)
                yield Decoded(row, written[row], token in ends)
        living = [place for place, row in enumerate(rows) if row not in done]
        if not living:
            return
        attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(rows), 1)], dim=1)
        position_ids = position_ids[:, -1:] + 1
        if len(living) <= SHRINK_AT * len(rows):
            keep = torch.tensor(living, device=input_ids.device)
            cache.batch_select_indices(keep)
            input_ids, attention_mask, position_ids = input_ids[keep], attention_mask[keep], position_ids[keep]
            rows = [rows[place] for place in living]

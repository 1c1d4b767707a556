"""Greedy decoding of a padded batch, as tokenizers and ``generate`` have it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.weights.decoding import Decoded, Prompt, decode


def decode_greedily(
    model: Any, input_ids: Any, attention_mask: Any, ends: frozenset[int], max_tokens: int
) -> Iterator[Decoded]:
    """Yield the greedy continuation of each row of a batch that is padded on either side, all decoded together."""
    prompts = [Prompt(tuple(ids[mask > 0].tolist())) for ids, mask in zip(input_ids, attention_mask, strict=True)]
    return decode(model, prompts, ends, max_tokens=max_tokens, sizes=(len(prompts),))

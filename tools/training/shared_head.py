"""What all rows of a pass begin with goes through the model once, forward and backward.

A chat template begins every prompt with the same tokens (SmolLM2's with 27, of rows of some 120 and 145), and the two
completions of a DPO pair stand behind the same prompt. A causal model computes the same states for them in every row.
Here they are computed for one row, and all rows attend to these keys and values; the gradients of the rows add up in
them, as they would have in the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache

from tools.weights.decodable import layers_refuse, narrowest_window, steady_positions
from tools.weights.template import IGNORED

WORTH = 8
"""Tokens in common from which a second pass, a short one, costs less than it saves."""
OFF = 1e-3
"""The largest difference of a hidden state, in standard deviations of all, that is put down to rounding in float32."""


def shared_length(ids: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor) -> int:
    """Return how many tokens all rows begin with, at least one less than come before the first label.

    Args:
        ids: tokens, shape (rows, positions).
        mask: 0 on padding, of the same shape; ``None`` where there is none.
        labels: of the same shape, ``IGNORED`` where nothing is scored.

    Returns:
        A number of positions; 0 for a single row, where nothing is saved, and for rows that are padded on the left.
    """
    if ids.shape[0] < 2:
        return 0
    alike = (ids == ids[:1]).all(0) & (labels == IGNORED).all(0)
    if mask is not None:
        alike &= (mask == 1).all(0)
    return max(0, int(alike.cumprod(0).sum()) - 1)


def states_behind(body: Any, ids: torch.Tensor, mask: torch.Tensor | None, shared: int) -> torch.Tensor:
    """Return the last layer's states, shape (rows, positions, width); zeros for the first ``shared`` positions.

    Args:
        body: the model without its head.
        ids: tokens, shape (rows, positions), of which the first ``shared`` are alike in all rows.
        mask: 0 on padding, of the same shape; ``None`` where there is none.
        shared: positions, at least 1.
    """
    cache = DynamicCache(config=body.config)
    body(input_ids=ids[:1, :shared], past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(ids.shape[0])
    found = body(input_ids=ids[:, shared:], attention_mask=mask, past_key_values=cache, use_cache=True)
    return torch.nn.functional.pad(found.last_hidden_state, (0, 0, shared, 0))


@torch.no_grad()
def shares(model: Any) -> bool:
    """Return whether a model computes the same with what its rows have in common computed once.

    As for decoding in batches, its kinds of layers are looked at, and then it is tried on two short rows. A model that
    leaves out layers at random in training has no keys of those to share.

    Args:
        model: a causal language model in training mode, as it will be trained.
    """
    config = model.config.get_text_config(decoder=True)
    limits = (narrowest_window(model), steady_positions(model))
    if limits != (None, None) or layers_refuse(model) or getattr(config, "layerdrop", False):
        return False
    body, training = model.base_model, model.training
    vocabulary = config.vocab_size
    ids = (torch.arange(2 * 3 * WORTH, device=model.device).reshape(2, -1) * 5 + 7) % vocabulary
    ids[:, :WORTH] = ids[0, :WORTH]
    mask = torch.ones_like(ids)
    mask[1, -3:] = 0
    model.eval()  # without dropout, which would differ
    try:
        plain = body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        found = states_behind(body, ids, mask, WORTH)
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return False
    finally:
        model.train(training)
    told = mask.bool()
    told[:, :WORTH] = False
    bound = OFF if plain.dtype == torch.float32 else 0.25
    return bool((found[told] - plain[told]).abs().max() <= bound * plain[told].std())

"""The batch sizes in which a row's figures do not depend on the batch."""

from __future__ import annotations

from typing import Any

import torch

SIZES = (8, 16, 32, 48, 64, 80, 96)
"""Rows decoded together; as one is finished, the next takes its place. Measured on one core with SmolLM2-135M in
bfloat16: 206 tokens for each CPU-second at 32, 277 at 64, 345 at 96 and no more at 128; 96 need 1.4 GB. The smaller
ones are for what is left at the end."""
STRIDE = 7919
"""Between the tokens that are tried: a prime, so that they come from the whole vocabulary."""


@torch.inference_mode()
def invariant_sizes(model: Any) -> tuple[int, ...]:
    """Return those of ``SIZES`` in which a row gets the same logits, bit for bit, as in the largest one.

    A library adds up a matrix product in another order for one row than for many, and which sizes it treats alike
    depends on processor, library and number format (He et al. 2025, "Defeating Nondeterminism in LLM Inference"). So it
    is tried, in a second: a row stands at another place of each batch, beside other rows. Attention, where each row has
    a product of its own, is made the same by ``Slots``.
    """
    tokens = torch.arange(SIZES[-1], device=model.device) * STRIDE % model.config.get_text_config().vocab_size

    def logits(size: int) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=tokens[-size:, None], use_cache=False).logits
        return found

    largest = logits(SIZES[-1])
    return tuple(size for size in SIZES if size == SIZES[-1] or torch.equal(logits(size), largest[-size:]))

"""The batch sizes in which a row's figures do not depend on the batch."""

from __future__ import annotations

from typing import Any

import torch

SIZES = (4, 8, 16, 24, 32, 40, 48, 64, 80, 96)
"""Rows decoded together; as one is finished, the next takes its place. Measured on one core with SmolLM2-135M in
bfloat16: 206 tokens for each CPU-second at 32, 277 at 64, 345 at 96 and no more at 128; 96 need 1.4 GB. The smaller
ones are for what is left at the end. In float32 one step takes 0.13 s in 8 rows and 0.10 in 4; 24 rows took 6% less
with a size of 24 than with 32; and of 60 rows' steps a quarter has 32 to 40 that are not finished."""
GPU_SIZES = (*SIZES, 192, 384, 768)
"""The same on a GPU: on an H200 a step of 768 rows of that model took 1.06 times the time of one of 96, and 1,536
answers came at 13,762 tokens a second; with 96 rows and short passes over prompts 384 came at 2,880."""
STRIDE = 7919
"""Between the tokens that are tried: a prime, so that they come from the whole vocabulary."""


def sizes_to_try(model: Any) -> tuple[int, ...]:
    """Return the batch sizes that may serve where a model is, ascending."""
    return SIZES if model.device.type == "cpu" else GPU_SIZES


@torch.inference_mode()
def invariant_sizes(model: Any) -> tuple[int, ...]:
    """Return those of ``sizes_to_try`` in which a row gets the same logits, bit for bit, as in the largest.

    A library adds up a matrix product in another order for one row than for many, and which sizes it treats alike
    depends on processor, library and number format (He et al. 2025, "Defeating Nondeterminism in LLM Inference"). So it
    is tried, in a second: a row stands at another place of each batch, beside other rows. Attention, where each row has
    a product of its own, is made the same by ``Slots``.
    """
    sizes = sizes_to_try(model)
    tokens = torch.arange(sizes[-1], device=model.device) * STRIDE % model.config.get_text_config().vocab_size

    def logits(size: int) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=tokens[-size:, None], use_cache=False).logits
        return found

    largest = logits(sizes[-1])
    return tuple(size for size in sizes if size == sizes[-1] or torch.equal(logits(size), largest[-size:]))

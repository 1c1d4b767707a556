"""Load a base model, alone or with an adapter, in the number format in which the hardware is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

from tools.weights.number_format import NumberFormat, answering_format, cpu_has_bfloat16
from tools.weights.trust import code_options

TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def compute_dtype() -> torch.dtype:
    """Return bfloat16 if the hardware computes in it, else float32."""
    has = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else cpu_has_bfloat16()
    return torch.bfloat16 if has else torch.float32


def load_model(base: Path, adapter: Path | None, number_format: NumberFormat | None = None) -> Any:
    """Load a model to answer with, on the GPU where there is one.

    An adapter is merged into the base in float32 and rounded once: that is faster than two more matrix products in
    each layer. Of the base's generation configuration only the tokens count that begin, end and pad a text: penalties
    and forced tokens would make of the model's likelihoods others than those that training and figures have.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None``.
        number_format: of the weights; by default the one in which weights answer on this machine.
    """
    dtype: torch.dtype = getattr(torch, number_format or answering_format())
    # Its own progress bar, for a file that loads in a second, would break up the run's progress.
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32 if adapter else dtype, **code_options(base))
    if adapter is not None:
        from peft import PeftModel  # a base alone does without it

        model = merged(PeftModel.from_pretrained(model, str(adapter))).to(dtype)
    given = model.generation_config
    model.generation_config = GenerationConfig(**{name: getattr(given, name) for name in TOKENS})
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def merged(model: Any) -> Any:
    """Return the base with its adapter merged into it.

    Where embeddings and output layer share their weights and the adapter changes one of them, they get weights of their
    own first: what is added to the one must not appear in the other.

    Args:
        model: a PEFT model.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    base = model.get_base_model()
    layers = [base.get_input_embeddings(), base.get_output_embeddings()]
    own = [layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer for layer in layers]
    shared = own[1] is not None and own[0].weight is own[1].weight
    if shared and any(isinstance(layer, BaseTunerLayer) for layer in layers):
        own[1].weight = torch.nn.Parameter(own[1].weight.detach().clone())
        base.config.get_text_config().tie_word_embeddings = False
        base.config.tie_word_embeddings = False
    return model.merge_and_unload()

"""Checks of a trained adapter's files: they load onto the base, and the weights are finite and changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
from transformers import AutoConfig, AutoModelForCausalLM

from tools.checklists.items import item
from tools.weights.trust import code_options


def inspect_adapter(base: Path, adapter: Path) -> list[dict[str, Any]]:
    """Return the checklist's items for an adapter, ready for JSON. The base's weights are not read.

    Args:
        base: the model it was trained on.
        adapter: its folder.
    """
    weights: dict[str, torch.Tensor] = load_peft_weights(str(adapter), device="cpu")
    missing, unknown = _fit(base, adapter, weights)
    moved = [name for name, tensor in weights.items() if "lora_B" in name and bool(tensor.any())]
    outputs = sum("lora_B" in name for name in weights)
    finite = sum(bool(tensor.isfinite().all()) for tensor in weights.values())
    items = [
        item(
            "the adapter loads onto its base",
            not missing and not unknown,
            f"{len(weights)} matrices; {missing} layers of the base get none, {unknown} matrices fit no layer",
        ),
        item("its weights are finite", finite == len(weights) > 0, f"{finite} of {len(weights)} matrices"),
        # LoRA starts with B at 0, which changes nothing.
        item("its weights were changed", len(moved) == outputs > 0, f"{len(moved)} of {outputs} layers are above 0"),
    ]
    return [found.model_dump() for found in items]


def _fit(base: Path, adapter: Path, weights: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Return how many matrices of the adapter get no weights, and how many weights fit no matrix."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(base, **code_options(base)), **code_options(base)
        )
    adapted = get_peft_model(model, LoraConfig.from_pretrained(str(adapter)), low_cpu_mem_usage=True)
    try:
        loaded = set_peft_model_state_dict(adapted, weights, low_cpu_mem_usage=True)
    except RuntimeError:  # a matrix has another shape than the layer
        return 0, len(weights)
    return sum("lora_" in name for name in loaded.missing_keys), len(loaded.unexpected_keys)

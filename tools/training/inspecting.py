"""Checks of a trained adapter's files: they load onto the base, and the weights are finite and changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from tools.checklists.items import item
from tools.weights.trust import code_options

PEFTS = "base_model.model."
"""How PEFT begins the names of an adapter's weights."""


def inspect_adapter(base: Path, adapter: Path) -> list[dict[str, Any]]:
    """Return the checklist's items for an adapter, ready for JSON. The base's weights are not read.

    Args:
        base: the model it was trained on.
        adapter: its folder.
    """
    weights: dict[str, torch.Tensor] = load_peft_weights(str(adapter), device="cpu")
    missing, unknown = _fit(base, adapter, weights)
    moved, outputs = _moved(base, weights)
    finite = sum(bool(tensor.isfinite().all()) for tensor in weights.values())
    items = [
        item(
            "the adapter loads onto its base",
            not missing and not unknown,
            f"{len(weights)} matrices; {missing} layers of the base get none, {unknown} matrices fit no layer",
        ),
        item("its weights are finite", finite == len(weights) > 0, f"{finite} of {len(weights)} matrices"),
        item("its weights were changed", moved == outputs > 0, f"{moved} of {outputs} layers"),
    ]
    return [found.model_dump() for found in items]


def _moved(base: Path, weights: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Return how many layers a training changed, and how many it trained. LoRA starts with B at 0."""
    outputs = [tensor for name, tensor in weights.items() if "lora_B" in name]
    if outputs:
        return sum(bool(tensor.any()) for tensor in outputs), len(outputs)
    return sum(_differs(base, name.removeprefix(PEFTS), tensor) for name, tensor in weights.items()), len(weights)


def _differs(base: Path, name: str, trained: torch.Tensor) -> bool:
    """Return whether a trained weight is not the base's; one that the base does not hold, as a tied head, counts."""
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as held:
            if name in held.keys():  # it is no mapping
                return not torch.equal(held.get_tensor(name).float(), trained.float())
    return True


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
    wanted = [name for name in loaded.missing_keys if "lora_" in name or "modules_to_save" in name]
    return len(wanted), len(loaded.unexpected_keys)

"""QLoRA: the frozen base in four bits, where the machine supports it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

from state.errors import BadInput
from tools.machine.resources import gpu_count
from tools.training.configs import SHARDED, kind_of, uses_cpu

Quantise = Literal["none", "4bit"]


def demand_quantisation(quantise: Quantise, config: Path) -> None:
    """Refuse a setting that this machine or accelerate's config cannot do. Nothing is loaded.

    Raises:
        BadInput: 4 bits are asked for, and there is no GPU or no bitsandbytes, or the config is for the CPU or shards
            the weights, which does not work with four bits.
    """
    if quantise == "none":
        return
    if uses_cpu(config) or kind_of(config) in SHARDED:
        raise BadInput(
            f"train.quantise: {quantise} needs a whole GPU for each process; set train.accelerate_config to gpu"
        )
    if not gpu_count():
        raise BadInput(f"train.quantise: {quantise} needs an NVIDIA GPU, and this machine has none; set it to none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise BadInput(f"train.quantise: {quantise} needs the package bitsandbytes (pip install bitsandbytes)")


def quantisation(quantise: Quantise) -> dict[str, Any]:
    """Return the options of ``from_pretrained`` that quantise the base; none where it is not quantised.

    The figures are QLoRA's (Dettmers et al. 2023): NF4, double quantisation, products in bfloat16.
    """
    if quantise == "none":
        return {}
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}

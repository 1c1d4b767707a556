"""Unpack a GGUF file into a Hugging Face folder: ``python -m tools.weights.unpack FILE.gguf FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path


def unpack(gguf: Path, folder: Path) -> None:
    """Write weights (bfloat16), configuration, tokenizer and chat template of ``gguf`` into ``folder``.

    Raises:
        ValueError: the file's tokenizer has no chat template, or its end token is not the model's.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    if not tokenizer.chat_template:
        raise ValueError(f"{gguf.name} carries no chat template")
    if tokenizer.eos_token_id != model.config.eos_token_id:
        raise ValueError(f"{gguf.name}: tokenizer and model disagree on the end token")
    # save_pretrained would otherwise write a quantised model, which nothing could train.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))

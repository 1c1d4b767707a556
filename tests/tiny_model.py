"""A Llama model small enough to train in seconds: random weights, the embedded model's tokenizer and chat template."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.settings import load_settings
from tools.weights.folders import base_folder


def tiny_model(folder: Path, head: int = 16) -> Path:
    """Save the model into ``folder`` and return that.

    Args:
        folder: where to.
        head: width of an attention head; kernels made for real models refuse 16.
    """
    return Path(shutil.copytree(_made(head).name, folder, dirs_exist_ok=True))


@cache
def _made(head: int) -> TemporaryDirectory[str]:
    """Make the model once for each process that tests: it takes half a CPU-second, and thirty files ask for it."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(base_folder("embedded", load_settings().cache))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=head,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    folder = TemporaryDirectory(prefix="tiny-model-")
    LlamaForCausalLM(config).save_pretrained(folder.name)
    tokenizer.save_pretrained(folder.name)
    return folder

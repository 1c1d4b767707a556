"""Make TRL more than twice as fast on a CPU, without changing what is computed.

Measured with SmolLM2-135M in bfloat16, LoRA r=32 on all linear layers, steps of 8 rows of 116 tokens of which 75 are
completion, one thread: TRL 1.16 with gradient checkpointing off reaches 125 tokens a CPU-second at a peak of 3.9 GB,
this 280 at 2.6 GB (a part of the memory is saved by ``rows_at_once``). Forward and backward without an adapter: 356.

- TRL scores every position by the LM head where there is no Triton. Here only completion tokens are scored, which is
  half of the work for a model with a small body and 49,152 tokens.
- PEFT casts each layer's input to the adapter's float32, and autocast casts it back. Under autocast neither is needed.
- What all rows of a pass begin with, such as a template's system turn, is computed once (``shared_head.py``): 12 to 13%
  of a step of 8 rows of 120 and 140 tokens, 27 of them in common, in float32.
- Eager attention beats PyTorch's fused one on short rows, backward above all; its memory grows with the square.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from trl.trainer.utils import FusedCausalLMOutput

from tools.training.shared_head import WORTH, shared_length, shares, states_behind
from tools.weights.template import IGNORED

EAGER_UP_TO = 256
"""Tokens of the longest row up to which eager attention is used on a CPU."""
SCALED_LOGITS = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)
"""Configuration keys of models that scale or cap the head's product; those keep TRL's own head."""
PLAIN = frozenset({"input_ids", "attention_mask", "use_cache"})
"""Arguments with which a pass over the rows is nothing but that."""


def attention_for(longest: int, on_cpu: bool) -> str:
    """Return the attention implementation for rows of at most ``longest`` tokens."""
    return "eager" if on_cpu and longest <= EAGER_UP_TO else "sdpa"


def speed_up(trainer: Any) -> None:
    """Change a trainer of TRL as this file describes, where that helps. Call it once, before the first pass.

    Args:
        trainer: of a PEFT model, with the language-model head that ``SFTTrainer`` and ``DPOTrainer`` put on it.
    """
    if trainer.args.use_cpu:
        score_completions_only(trainer.model.get_base_model())
        if trainer.args.bf16:
            skip_input_casts(trainer.model)


def skip_input_casts(model: Any) -> None:
    """Give adapters their inputs without a cast: only right under autocast, which casts each product's inputs."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def score_completions_only(model: Any) -> None:
    """Replace the head that TRL put on a causal language model by one that scores labelled positions alone.

    It keeps TRL's contract (``fused_lm_head=True`` returns log-probabilities), except that entropy and mean logit,
    which TRL only logs, are NaN.

    What the rows of a pass begin with is computed once for all of them (``shared_head.py``).

    Args:
        model: the base model inside the PEFT model, after TRL's ``add_fused_lm_head``.
    """
    config = model.config.get_text_config()
    if any(getattr(config, key, None) is not None for key in SCALED_LOGITS):
        return
    trls, sharing = model.forward, shares(model)

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, labels: Any = None, **kwargs: Any) -> Any:
        if not fused_lm_head or labels is None:
            return trls(*args, fused_lm_head=fused_lm_head, labels=labels, **kwargs)
        plain = not args and kwargs.keys() <= PLAIN and not self.is_activation_checkpointing
        tokens = {"ids": kwargs["input_ids"], "mask": kwargs.get("attention_mask")} if sharing and plain else {}
        if tokens and (shared := shared_length(**tokens, labels=labels)) >= WORTH:
            hidden = states_behind(self.base_model, **tokens, shared=shared)
        else:
            hidden = self.base_model(*args, **kwargs).last_hidden_state
        return score(hidden[:, :-1], labels[:, 1:], self.get_output_embeddings())

    model.forward = types.MethodType(forward, model)


def score(hidden: torch.Tensor, targets: torch.Tensor, head: Any) -> FusedCausalLMOutput:
    """Return log-probabilities of ``targets``.

    Args:
        hidden: the last layer's states, shape (rows, positions, width).
        targets: the next token at each position, shape (rows, positions); ``IGNORED`` where none is scored.
        head: the LM head.

    Returns:
        ``log_probs`` in float32, shape (rows, positions), 0 where ignored; ``is_top1`` and ``label_mask`` alike.
    """
    mask = targets != IGNORED
    logits = head(hidden[mask]).float()
    wanted = targets[mask]
    log_probs = -torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    top = logits.detach().argmax(-1) == wanted
    nothing = log_probs.new_full(mask.shape, float("nan")).detach()
    return FusedCausalLMOutput(
        loss=-log_probs.sum() / mask.sum().clamp(min=1),
        log_probs=log_probs.new_zeros(mask.shape).masked_scatter(mask, log_probs),
        entropy=nothing,
        log_sum_sq_probs=None,
        mean_logits=nothing,
        is_top1=torch.zeros_like(mask).masked_scatter(mask, top),
        label_mask=mask,
        aux_loss=None,
    )

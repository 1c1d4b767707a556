"""Whether a model starts to repeat itself while it is trained: short greedy answers to a few prompts of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from state.records import content_hash
from tools.checks.guard import distinct_n
from tools.weights.decoding import Prompt, decode, end_tokens
from tools.weights.template import shared_head

PROMPTS = 8
"""The most prompts of a probe."""
TOKENS = 48
"""The most tokens of an answer. Three probes make 1,152 tokens in a phase, however long it is: for SmolLM2-135M about
16 CPU-seconds."""
AFTER = (0.5, 1.0)
"""Shares of the steps after which the probe is taken again."""
STEP, DISTINCT = "step", "probe/distinct3"
"""Keys of a probe in the trainer's log, which is part of a checkpoint."""


class Probe(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Measures distinct-3 of greedy answers at the start, in the middle and at the end of a training.

    It draws nothing at random and leaves the model as it was, so the training is the same with it and without. With
    several processes, or weights that are gathered layer by layer, nothing is measured: a process may hold only a share
    of the weights, and what is gathered in inference mode cannot be trained.

    Args:
        tokenizer: of the model.
        asked: tokens of each row's prompt, as the model is asked.
    """

    def __init__(self, tokenizer: Any, asked: Sequence[Sequence[int]]) -> None:
        self._tokenizer = tokenizer
        self._prompts = probe_prompts(asked)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure the model before the first step; a resumed training has this in its log already."""
        if state.global_step == 0:
            self._measure(args, state, model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Measure at the steps of ``probe_steps``, before the step's checkpoint is written."""
        if state.global_step in probe_steps(state.max_steps):
            self._measure(args, state, model)

    def _measure(self, args: Any, state: Any, model: Any) -> None:
        if args.world_size > 1 or _sharded():
            return
        model.eval()
        try:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=args.bf16):
                distinct = mean_distinct(model, self._tokenizer, self._prompts)
        finally:
            model.train()
        state.log_history.append({STEP: state.global_step, DISTINCT: distinct})


def _sharded() -> bool:
    """Return whether the trainer's weights are kept in shards, be it by a single process."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    return AcceleratorState().distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def probe_prompts(asked: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return ``PROMPTS`` different prompts, or all if there are fewer; a hash chooses, not the rows' order."""
    distinct = {content_hash(list(tokens)): list(tokens) for tokens in asked}
    return [distinct[key] for key in sorted(distinct)[:PROMPTS]]


def probe_steps(total: int) -> set[int]:
    """Return the steps, of ``total``, after which the probe is taken; the last one is among them."""
    return {max(1, round(share * total)) for share in AFTER}


def mean_distinct(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]]) -> float:
    """Return the mean distinct-3 over greedy answers to ``prompts``, in [0, 1].

    The lower of two values counts, one over words and one over tokens: a row of commas has no words, and a loop may
    vary its commas. An empty answer counts 0.
    """
    asked = [Prompt(tuple(tokens)) for tokens in prompts]
    head = shared_head([prompt.tokens for prompt in asked])
    shares = []
    for found in decode(model, asked, end_tokens(model, tokenizer), max_tokens=TOKENS, sizes=(len(asked),), head=head):
        text = tokenizer.decode(found.tokens, skip_special_tokens=True)
        of_tokens = distinct_n(" ".join(map(str, found.tokens)), 3)
        shares.append(min(distinct_n(text, 3), of_tokens) if text.strip() else 0.0)
    return sum(shares) / len(shares)

"""Which models the batched decoder decodes as ``generate`` would; the others go to ``generate``, one row at a time.

The decoder reads prompts padded, shares what they begin with, and moves rows between slots. That changes nothing where
each token attends to all before it, and everything where a layer counts places in its cache, as in a sliding window, or
carries a state over the padding. So the kinds of layers are looked at, and then it is tried: a model whose logits come
out otherwise than from a plain pass is not decoded in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tools.weights.choosing import choose
from tools.weights.gpu_memory import ran_out

WINDOWS = ("sliding_window", "window_size", "attention_window", "attention_window_size", "attention_chunk_size",
           "local_attention", "local_attention_window", "sliding_window_size", "block_size")  # fmt: skip
"""What configurations call the number of tokens that a token attends to."""
ROPES_BY_LENGTH = ("dynamic", "longrope")
LIMITS = ("original_max_position_embeddings", "max_position_embeddings")
"""Where such a rotary embedding says up to which length it is the plain one."""
OFF = {torch.float32: 0.01, torch.bfloat16: 0.25, torch.float16: 0.1}
"""The largest difference of a logit, in standard deviations of all logits, that is put down to rounding."""
TRIED_HEAD = (5, 7, 11)
TRIED = ((*TRIED_HEAD, 13, 17, 19, 23, 29, 31), (*TRIED_HEAD, *(5 + 3 * at % 61 for at in range(21))))
"""Prompts of the trial with a head in common; the one is shorter than the other by a whole block of padding."""
Trial = Callable[[Any, Sequence[tuple[int, ...]], Sequence[int]], list[torch.Tensor]]
"""Returns the decoder's logits after each prompt, and after each of some tokens behind it: shape (rows, vocabulary)."""
_tried: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_told: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def refusal(model: Any, longest: int, trial: Trial) -> str:
    """Return why a model is not decoded in batches; empty where it is.

    Args:
        model: a causal language model.
        longest: columns that a row may come to have, padding and all.
        trial: the decoder.

    Raises:
        RuntimeError: the GPU's memory ran out in the trial; the next call tries again.
    """
    window = narrowest_window(model)
    if window is not None and window <= longest:
        reason = f"its layers attend to {window} tokens, and a row may have more"
    elif (limit := steady_positions(model)) is not None and limit < longest:
        reason = f"beyond {limit} tokens its positions depend on the longest row, and a row may have more"
    else:
        reason = trial_refusal(model, trial)
    if reason:
        _told[model] = reason
    return reason


def trial_refusal(model: Any, trial: Trial) -> str:
    """Return why a model is not decoded in batches however short its rows are; empty where it is. It is tried once."""
    if model not in _tried:
        _tried[model] = layers_refuse(model) or _off(model, trial)
    return _tried[model]


def set_tried(model: Any) -> None:
    """Note that a model is decoded in batches, as an earlier process has found by trying it."""
    _tried[model] = ""


def last_refusal(model: Any) -> str:
    """Return why a model was not decoded in batches, the last time it was not; empty where it always was."""
    return _told.get(model, "")


def narrowest_window(model: Any) -> int | None:
    """Return the fewest tokens that a layer attends to, where the configuration limits them."""
    config = model.config.get_text_config(decoder=True)
    found = [getattr(config, name, None) for name in WINDOWS]
    sizes = [one for value in found for one in (value if isinstance(value, list | tuple) else [value])]
    return min((size for size in sizes if isinstance(size, int) and size > 0), default=None)


def steady_positions(model: Any) -> int | None:
    """Return up to how many tokens a position's rotary embedding is the same however long the rows of the pass are.

    ``None`` where it always is. Two types take other frequencies once a pass has longer rows (``modeling_rope_utils``).
    """
    config = model.config.get_text_config(decoder=True)
    told = getattr(config, "rope_parameters", None) or {}
    each = [one for one in told.values() if isinstance(one, dict)] or [told]
    places = [config, *(one for one in each if one.get("rope_type") in ROPES_BY_LENGTH)]
    if len(places) == 1:
        return None
    limits = [one.get(name) if isinstance(one, dict) else getattr(one, name, None) for one in places for name in LIMITS]
    return min((limit for limit in limits if isinstance(limit, int)), default=0)


def layers_refuse(model: Any) -> str:
    """Return why layers keep something else than keys and values of all tokens; empty where none does."""
    if getattr(model, "_is_stateful", False):
        return "it carries a state from token to token"
    try:
        kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return f"its cache cannot be made ({type(error).__name__})"
    others = sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer})
    return f"it has layers of another kind ({', '.join(others)})" if others else ""


@torch.inference_mode()
def _off(model: Any, trial: Trial) -> str:
    """Return that the decoder's logits are not those of a plain pass over the same tokens, if so."""
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    prompts = [tuple(token % vocabulary for token in prompt) for prompt in TRIED]
    behind = [token % vocabulary for token in (37, 41)]
    try:
        found = trial(model, prompts, behind)
        for row, prompt in enumerate(prompts):
            ids = torch.tensor([[*prompt, *behind]], device=model.device)
            plain_logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
            for logits, plain in zip(found, plain_logits, strict=True):
                far = float((logits[row].float() - plain).abs().max() / (plain.std() + 1e-9))
                if not far <= OFF.get(model.dtype, 0.25):
                    return f"its logits in a batch are {far:.2g} standard deviations from those of a plain pass"
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError) as error:
        if ran_out(error):  # that others hold the memory now says nothing of the model
            raise
        return f"it cannot be read in a batch ({type(error).__name__})"
    return ""


class _Chosen(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped
    """Leaves the one token that a row's own random numbers choose."""

    def __init__(self, noise: Any, temperature: float, top_p: float) -> None:
        self._noise, self._temperature, self._top_p = noise, temperature, top_p

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        (token,) = choose(scores, [self._noise], self._temperature, self._top_p)
        left = torch.full_like(scores, float("-inf"))
        left[:, token] = 0.0
        return left


def generated(
    model: Any, prompts: Sequence[Any], ends: frozenset[int], max_tokens: int, temperature: float, top_p: float
) -> Iterator[tuple[int, list[int], bool]]:
    """Yield each prompt's place, what ``generate`` writes after it, and whether it ended by itself.

    The arguments are those of ``tools.weights.decoding.decode``.
    """
    settings = GenerationConfig(
        max_new_tokens=max_tokens, do_sample=False, eos_token_id=sorted(ends) or None, pad_token_id=0
    )
    for place, prompt in enumerate(prompts):
        ids = torch.tensor([prompt.tokens], device=model.device)
        own = [] if prompt.noise is None else [_Chosen(prompt.noise, temperature, top_p)]
        found = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=settings,
            logits_processor=LogitsProcessorList(own),
        )
        written = found[0, len(prompt.tokens) :].tolist()
        ended = bool(written) and written[-1] in ends
        yield place, written[:-1] if ended else written, ended

"""Decoding of many prompts: a finished row is handed on at once, and the next prompt takes its slot.

Greedy rows are what ``generate(do_sample=False)`` gives, up to rounding, which differs with the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from tools.machine.resources import free_memory, sampling_processes
from tools.weights.choosing import choose
from tools.weights.slots import Slots

SHRINK_AT = 0.8
"""When no prompt waits and the share of unfinished rows falls to this, the batch is cut down to them."""
REFILL = 8
"""Prompts wait until one slot in so many is free: reading a few together costs little more than reading one."""
CACHE_SHARE = 0.5
"""The share of the free memory (on a CPU, of this process's part of it) that keys and values may take."""
PREFILL_TOKENS = 4096
"""The most padded prompt tokens of one forward pass; a longer prompt has a pass of its own."""


class Prompt(NamedTuple):
    """A prompt to continue."""

    tokens: tuple[int, ...]
    """At least one token."""
    noise: Random | None = None
    """The row's own random numbers, or ``None`` for the greedy continuation."""


class Decoded(NamedTuple):
    """One finished row."""

    row: int
    """The prompt's index among those given."""
    tokens: list[int]
    """Without the end token."""
    ended: bool
    """Whether the model ended by itself, rather than at the token limit."""


@dataclass
class _Row:
    row: int
    prompt: Prompt
    written: list[int] = field(default_factory=list)
    done: bool = False

    @property
    def held(self) -> int:
        """Tokens in the cache: all but the last one written; 0 for a finished row, whose slot is free."""
        return 0 if self.done else len(self.prompt.tokens) + len(self.written) - 1


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end an answer: the generation configuration's, one or several, and the tokenizer's."""
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)


@torch.inference_mode()
def decode(
    model: Any,
    prompts: Sequence[Prompt],
    ends: frozenset[int],
    *,
    max_tokens: int,
    slots: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Iterator[Decoded]:
    """Yield each row as soon as it is finished.

    What all prompts begin with, such as a template's system turn, is read once; so is a prompt that is given several
    times in a row.

    Args:
        model: a causal language model of attention layers.
        prompts: what to continue; the longest first is fastest.
        ends: ids that end a row.
        max_tokens: tokens of a row at most, at least 1.
        slots: rows decoded together, at least 1; fewer if so many of the longest do not fit the memory.
        temperature: of the rows with noise, above 0.
        top_p: of the rows with noise, in (0, 1].
    """
    longest = max((len(prompt.tokens) for prompt in prompts), default=0) + max_tokens
    count = min(slots, len(prompts), slots_in(model, longest))
    waiting = deque(_Row(place, prompt) for place, prompt in enumerate(prompts))
    reader = _Reader(model, shared_head([prompt.tokens for prompt in prompts]))
    held = Slots(count, len(reader.head))
    rows = [_Row(-1, Prompt(()), done=True)] * count

    def write(chosen: list[_Row], logits: torch.Tensor) -> Iterator[Decoded]:
        tokens = choose(logits, [row.prompt.noise for row in chosen], temperature, top_p)
        for row, token in zip(chosen, tokens, strict=True):
            if row.done:
                continue
            if token not in ends:
                row.written.append(token)
            row.done = token in ends or len(row.written) == max_tokens
            if row.done:
                yield Decoded(row.row, row.written, token in ends)

    while waiting or not all(row.done for row in rows):
        free = [slot for slot, row in enumerate(rows) if row.done]
        if waiting and len(free) >= min(len(waiting), max(1, count // REFILL)):
            new = _next(waiting, len(free))
            yield from write(new, _admit(reader, held, rows, free, new))
            continue
        if not waiting and len(rows) - len(free) <= SHRINK_AT * len(rows):
            alive = [slot for slot, row in enumerate(rows) if not row.done]
            held.keep(alive)
            rows = [rows[slot] for slot in alive]
        yield from write(rows, _step(model, held, rows))


def decode_greedily(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, ends: frozenset[int], max_tokens: int
) -> Iterator[Decoded]:
    """Yield the greedy continuation of each row of a padded batch, all decoded together.

    Args:
        model: as for ``decode``.
        input_ids: prompts padded on either side, shape (rows, positions).
        attention_mask: 0 on padding, of the same shape.
        ends: ids that end a row.
        max_tokens: tokens of a row at most, at least 1.
    """
    prompts = [Prompt(tuple(ids[mask > 0].tolist())) for ids, mask in zip(input_ids, attention_mask, strict=True)]
    return decode(model, prompts, ends, max_tokens=max_tokens, slots=len(prompts))


def slots_in(model: Any, longest: int) -> int:
    """Return how many rows of ``longest`` tokens fit into ``CACHE_SHARE`` of the free memory, at least 1."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row: int = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize * longest
    if model.device.type == "cuda":
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = free_memory() // sampling_processes()
    return max(1, int(CACHE_SHARE * free) // row)


def shared_head(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the tokens that all prompts begin with, leaving at least one of each prompt's own."""
    if not prompts:
        return ()
    # What the first and the last in lexical order have in common, all between them have.
    least, most = min(prompts), max(prompts)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
    return tuple(token for token, _ in alike)[: min(map(len, prompts)) - 1]


class _Reader:
    """Reads prompts; what all of them begin with is read once."""

    def __init__(self, model: Any, head: tuple[int, ...]) -> None:
        self.model, self.head = model, head
        self._read = DynamicCache()
        if head:
            model(input_ids=self.tensor([head]), past_key_values=self._read, use_cache=True, logits_to_keep=1)

    def tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Return integers as a tensor on the model's device."""
        return torch.tensor(rows, device=self.model.device)

    def read(self, prompts: Sequence[tuple[int, ...]]) -> tuple[DynamicCache, torch.Tensor]:
        """Return the prompts' cache, the shared head first and padding after it, and the logits of each next token."""
        head = len(self.head)
        cache = DynamicCache()
        for number, layer in enumerate(self._read.layers):
            many = (len(prompts), -1, -1, -1)
            cache.update(layer.keys.expand(many), layer.values.expand(many), number)
        width = max(map(len, prompts)) - head
        pads = [width + head - len(prompt) for prompt in prompts]
        out = self.model(
            input_ids=self.tensor([[0] * pad + list(p[head:]) for p, pad in zip(prompts, pads, strict=True)]),
            attention_mask=self.tensor([[1] * head + [0] * pad + [1] * (width - pad) for pad in pads]),
            position_ids=self.tensor([[max(head, head + at - pad) for at in range(width)] for pad in pads]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache, out.logits[:, -1]


def _next(waiting: deque[_Row], free: int) -> list[_Row]:
    """Take the rows from the queue that are read together: as many as there are free slots, or as fit one pass."""
    taken = [waiting.popleft()]
    longest = len(taken[0].prompt.tokens)
    while waiting and len(taken) < free:
        longest = max(longest, len(waiting[0].prompt.tokens))
        if longest * (len(taken) + 1) > PREFILL_TOKENS:
            break
        taken.append(waiting.popleft())
    return taken


def _admit(reader: _Reader, held: Slots, rows: list[_Row], free: list[int], new: list[_Row]) -> torch.Tensor:
    """Read new rows into free slots; return the logits of each next token."""
    different = list(dict.fromkeys(row.prompt.tokens for row in new))
    read, logits = reader.read(different)
    place = [different.index(row.prompt.tokens) for row in new]
    living = max(row.held for row in rows)
    longest = max(living, *map(len, different))
    placed = [(slot, at, len(row.prompt.tokens)) for slot, at, row in zip(free, place, new, strict=False)]
    held.admit(read, placed, longest, living)
    for slot, row in zip(free, new, strict=False):
        rows[slot] = row
    return logits[place]


def _step(model: Any, held: Slots, rows: list[_Row]) -> torch.Tensor:
    """Return the logits of the next token of each row; those of finished rows are to be ignored."""
    device = model.device
    lengths = torch.tensor([row.held for row in rows], device=device)[:, None]
    longest = int(lengths.max())
    held.before_step(longest)
    logits = model(
        input_ids=torch.tensor([[0 if row.done else row.written[-1]] for row in rows], device=device),
        attention_mask=(torch.arange(longest + 1, device=device) >= longest - lengths).long(),
        position_ids=lengths,
        past_key_values=held.cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    held.after_step()
    found: torch.Tensor = logits[:, -1]
    return found

"""Decoding of many prompts: a finished row is handed on at once, and the next prompt takes its slot.

A row is the same, bit for bit, whoever else is in its batch: a prompt is read in a pass whose shape follows from its
own length, a step has one of the batch sizes in which a row's figures do not depend on the others
(``tools.weights.invariance``), and attention adds up a row's columns in the same order in every batch
(``tools.weights.slots``).
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

from tools.machine.resources import sampling_processes, total_memory
from tools.weights.choosing import choose
from tools.weights.decodable import generated, refusal
from tools.weights.slots import COLUMNS, Read, Slots

CACHE_SHARE = 0.25
"""The share of the device's memory (on a CPU, of this process's part of it) that keys and values may take: of all of
it, not of what is free, which other programs change from one moment to the next."""


PAD_TO = 16
"""Prompts are padded to a multiple of so many tokens, so that there are few shapes."""
PASS_TOKENS = {True: 192, False: 4096}
"""Tokens of one pass over prompts, on a CPU and on a GPU, but for a longer prompt, which has a pass of its own. On a
CPU prompts of 60 tokens took a fifth more time when read one by one; on a GPU starting its kernels is what a pass
costs."""
TRIAL_TOKENS = 64
"""Tokens of one pass over the trial's prompts: two rows of the longer one."""


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
    sizes: Sequence[int],
    head: tuple[int, ...] = (),
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Iterator[Decoded]:
    """Yield each row as soon as it is finished.

    A prompt that is given several times in a row is read once.

    Args:
        model: a causal language model. One that cannot be decoded in batches is given to ``generate``.
        prompts: what to continue; the longest first is fastest.
        ends: ids that end a row.
        max_tokens: tokens of a row at most, at least 1.
        sizes: rows decoded together, ascending: the largest that the memory holds as long as prompts wait, and at the
            end the smallest that holds what is left.
        head: what many prompts begin with, such as a template's system turn. It is read once, before the rest of those
            prompts, and must not depend on which prompts are given.
        temperature: of the rows with noise, above 0.
        top_p: of the rows with noise, in (0, 1].
    """
    longest = max((len(prompt.tokens) for prompt in prompts), default=0) + max_tokens
    if prompts and refusal(model, longest + PAD_TO + COLUMNS, logits_in_a_batch):
        yield from (Decoded(*row) for row in generated(model, prompts, ends, max_tokens, temperature, top_p))
        return
    sizes = sizes_in(model, longest, sizes)
    waiting = deque(_Row(place, prompt) for place, prompt in enumerate(prompts))
    pass_tokens = PASS_TOKENS[model.device.type == "cpu"]
    reader = _Reader(model, head, [prompt.tokens for prompt in prompts], pass_tokens)
    rows = [_free_row()] * size_for(len(prompts), sizes)
    held = Slots(len(rows))

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
        if waiting and free:
            new = [waiting.popleft() for _ in free[: len(waiting)]]
            yield from write(new, _admit(reader, held, rows, free, new))
            continue
        if (fewer := size_for(len(rows) - len(free), sizes)) < len(rows):
            kept = sorted(range(len(rows)), key=lambda slot: rows[slot].done)[:fewer]
            held.keep(kept)
            rows = [rows[slot] for slot in kept]
        yield from write(rows, _step(model, held, rows))


def logits_in_a_batch(model: Any, prompts: Sequence[tuple[int, ...]], behind: Sequence[int]) -> list[torch.Tensor]:
    """Return the logits after each prompt, and after each token behind it, as they come out in a batch."""
    rows, held = [_free_row() for _ in prompts], Slots(len(prompts))
    head = tuple(tokens[0] for tokens in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False)))
    reader = _Reader(model, head, prompts, TRIAL_TOKENS)
    logits = [_admit(reader, held, rows, list(range(len(prompts))), [_Row(0, Prompt(tokens)) for tokens in prompts])]
    for token in behind:
        for row in rows:
            row.written.append(token)
        logits.append(_step(model, held, rows))
    return logits


def sizes_in(model: Any, longest: int, sizes: Sequence[int]) -> Sequence[int]:
    """Return the batch sizes of which the rows, of ``longest`` tokens each, fit into ``CACHE_SHARE`` of the memory.

    On a CPU the smallest one always does. On a GPU, where more would end the call, it is as many rows as do.
    """
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row: int = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize * longest
    if model.device.type == "cuda":
        memory = torch.cuda.get_device_properties(model.device).total_memory
    else:
        memory = total_memory() // sampling_processes()
    if fitting := [size for size in sizes if size * row <= CACHE_SHARE * memory]:
        return fitting
    return [min(sizes) if model.device.type == "cpu" else max(1, int(CACHE_SHARE * memory) // row)]


def size_for(rows: int, sizes: Sequence[int]) -> int:
    """Return the smallest of the ascending batch sizes that holds so many rows, or the largest where none does."""
    return next((size for size in sizes if size >= rows), sizes[-1])


class _Reader:
    """Reads prompts, the next ones with each, in passes whose shape depends on nothing but a prompt's own length.

    Args:
        model: the model.
        head: tokens that are read once for all prompts that begin with them.
        prompts: all that will be asked for, about in this order.
        pass_tokens: of one pass at most, but for a longer prompt.
    """

    def __init__(self, model: Any, head: tuple[int, ...], prompts: Sequence[tuple[int, ...]], pass_tokens: int) -> None:
        self.model, self.head, self._pass_tokens = model, head, pass_tokens
        self._order = list(dict.fromkeys(prompts))
        self._places = {tokens: place for place, tokens in enumerate(self._order)}
        self._head = DynamicCache()
        self._read: dict[tuple[int, ...], Read] = {}

    def read(self, tokens: tuple[int, ...]) -> Read:
        """Return what was read of a prompt."""
        if tokens not in self._read:
            head, width = self._shape(tokens)
            rows = max(1, self._pass_tokens // width)
            place = self._places[tokens]
            alike = [one for one in self._order[place : place + rows] if self._shape(one) == (head, width)]
            cache, logits = self._pass(head, width, alike + alike[:1] * (rows - len(alike)))
            self._read = {one: Read(cache, row, len(head), len(one), logits[row]) for row, one in enumerate(alike)}
        return self._read[tokens]

    def _shape(self, tokens: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
        """Return the head that is not read again, and the padded length of the rest."""
        begins = len(tokens) > len(self.head) and tokens[: len(self.head)] == self.head
        head = self.head if begins else ()
        return head, -(-(len(tokens) - len(head)) // PAD_TO) * PAD_TO

    def _pass(
        self, head: tuple[int, ...], width: int, prompts: Sequence[tuple[int, ...]]
    ) -> tuple[DynamicCache, torch.Tensor]:
        """Return the prompts' cache, the head first and padding after it, and the logits of each next token."""
        cache = self._copies_of_head(len(prompts)) if head else DynamicCache()
        first = len(head)
        pads = [width + first - len(prompt) for prompt in prompts]
        out = self.model(
            input_ids=self._tensor([[0] * pad + list(p[first:]) for p, pad in zip(prompts, pads, strict=True)]),
            attention_mask=self._tensor([[1] * first + [0] * pad + [1] * (width - pad) for pad in pads]),
            position_ids=self._tensor([[max(first, first + at - pad) for at in range(width)] for pad in pads]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return cache, out.logits[:, -1]

    def _copies_of_head(self, rows: int) -> DynamicCache:
        if not self._head.layers:
            self.model(
                input_ids=self._tensor([self.head]), past_key_values=self._head, use_cache=True, logits_to_keep=1
            )
        copies = DynamicCache()
        for number, layer in enumerate(self._head.layers):
            many = (rows, -1, -1, -1)
            copies.update(layer.keys.expand(many), layer.values.expand(many), number)
        return copies

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor(rows, device=self.model.device)


def _free_row() -> _Row:
    return _Row(-1, Prompt(()), done=True)


def _admit(reader: _Reader, held: Slots, rows: list[_Row], free: list[int], new: list[_Row]) -> torch.Tensor:
    """Read new rows into free slots; return the logits of each next token."""
    logits = []
    for slot, row in zip(free, new, strict=False):
        read = reader.read(row.prompt.tokens)
        held.admit(slot, read)
        rows[slot] = row
        logits.append(read.logits)
    return torch.stack(logits)


def _step(model: Any, held: Slots, rows: list[_Row]) -> torch.Tensor:
    """Return the logits of the next token of each row; those of finished rows are to be ignored."""
    device = model.device
    ends = torch.tensor([row.held for row in rows], device=device)
    width = held.before_step(ends)
    logits = model(
        input_ids=torch.tensor([[0 if row.done else row.written[-1]] for row in rows], device=device),
        attention_mask=(torch.arange(width, device=device) <= ends[:, None]).long(),
        position_ids=ends[:, None],
        past_key_values=held.cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    found: torch.Tensor = logits[:, -1]
    return found

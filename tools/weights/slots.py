"""The key-value cache of a changing batch: the next prompt takes the slot of a finished row.

A row's tokens are in the columns from 0 on, and ``COLUMNS`` divides the number of columns in use. So attention adds up
a row's figures in the same order in every batch: all that a longer neighbour adds are columns after the row's own,
which are masked and count as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

COLUMNS = 64
"""Columns are used, and made, so many at a time: a multiple of the numbers that a processor adds at once."""


class _Places:
    """Where the next column of each row is written, and the columns in use: the same in every layer."""

    def __init__(self) -> None:
        self.rows = torch.empty(0, dtype=torch.long)
        self.ends = torch.empty(0, dtype=torch.long)
        self.width = 0


class _SlotLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """One layer's keys and values, shape (slots, heads, columns, head size) each, written in place."""

    def __init__(self, places: _Places, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.places, self.keys, self.values = places, keys, values
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the next column of each row, and return the columns in use."""
        places = self.places
        self.keys[places.rows, :, places.ends] = key_states[:, :, 0]
        self.values[places.rows, :, places.ends] = value_states[:, :, 0]
        return self.keys[:, :, : places.width], self.values[:, :, : places.width]

    def get_seq_length(self) -> int:
        """Return the columns in use before the step: with the one that it adds, they are ``width``."""
        return self.places.width - 1


class Read(NamedTuple):
    """A prompt that was read."""

    cache: DynamicCache
    """Of several prompts: what they begin with, then the rest of each, padded on the left."""
    row: int
    """The prompt's row in the cache."""
    head: int
    """Tokens before the padding."""
    length: int
    """Tokens of the prompt."""
    logits: torch.Tensor
    """Of the token after it, shape (vocabulary,)."""


class Slots:
    """A cache of ``count`` rows, filled from prefilled ones."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._places = _Places()
        self.cache = Cache(layers=[])

    def admit(self, slot: int, read: Read) -> None:
        """Copy a prompt into a slot."""
        head, length = read.head, read.length
        self._make_room(read.cache, length)
        for ours, theirs in zip(self.cache.layers, read.cache.layers, strict=True):
            for mine, new in ((ours.keys, theirs.keys), (ours.values, theirs.values)):
                mine[slot, :, :head] = new[read.row, :, :head]
                mine[slot, :, head:length] = new[read.row, :, new.shape[2] - (length - head) :]

    def before_step(self, ends: torch.Tensor) -> int:
        """Say where each row's next column is written; return the number of columns in use.

        Args:
            ends: tokens of each row in the cache, shape (slots,).
        """
        places = self._places
        places.rows, places.ends = torch.arange(len(ends), device=ends.device), ends
        places.width = _whole(int(ends.max()) + 1)
        self._make_room(self.cache, places.width)
        return places.width

    def keep(self, slots: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._count = len(slots)
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[list(slots)], layer.values[list(slots)]

    def _make_room(self, like: Cache, columns: int) -> None:
        """Make sure that every layer has so many columns, with the heads and the number format of ``like``."""
        layers = self.cache.layers
        held = layers[0].keys.shape[2] if layers else 0
        if columns <= held:
            return
        self.cache.layers = [
            _SlotLayer(self._places, *(self._widened(part, held, columns) for part in (layer.keys, layer.values)))
            for layer in (layers or like.layers)
        ]

    def _widened(self, part: torch.Tensor, held: int, columns: int) -> torch.Tensor:
        # Zeros, since what is masked is still multiplied by 0.
        made = part.new_zeros(self._count, part.shape[1], _whole(columns), part.shape[3])
        if held:
            made[:, :, :held] = part
        return made


def _whole(columns: int) -> int:
    return -(-columns // COLUMNS) * COLUMNS

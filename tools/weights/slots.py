"""The key-value cache of a changing batch: the next prompt takes the slot of a finished row.

All rows end in the same column, whatever their length, so that one step writes one column for all of them, and a new
row is copied in to its left. Rotary positions are already applied to the keys, so a row's columns may be anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

NEW_COLUMNS = 32
"""Free columns for new tokens. When they are used up, all columns move to the left, which copies the cache once."""


class _Columns:
    """The columns in use, the same in every layer: ``start`` to ``end``."""

    def __init__(self) -> None:
        self.start = 0
        self.end = 0


class _SlotLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """One layer's keys and values, shape (slots, heads, columns, head size) each, written in place."""

    def __init__(self, columns: _Columns, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.columns, self.keys, self.values = columns, keys, values
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one new column, and return the columns in use with it."""
        start, end = self.columns.start, self.columns.end
        self.keys[:, :, end : end + 1] = key_states
        self.values[:, :, end : end + 1] = value_states
        return self.keys[:, :, start : end + 1], self.values[:, :, start : end + 1]

    def get_seq_length(self) -> int:
        """Return the number of columns in use."""
        return self.columns.end - self.columns.start


class Slots:
    """A cache of ``count`` rows, filled from prefilled ones.

    Args:
        count: rows at a time.
        shared: tokens at the head of every prompt, whose keys and values the prefilled caches have first.
    """

    def __init__(self, count: int, shared: int) -> None:
        self._count, self._shared = count, shared
        self._columns = _Columns()
        self.cache = Cache(layers=[])

    def admit(self, prefilled: DynamicCache, rows: Sequence[tuple[int, int, int]], longest: int, living: int) -> None:
        """Copy rows in.

        Args:
            prefilled: the shared head, then the rest of each row, padded on the left.
            rows: slot to fill, row of ``prefilled`` and its length in tokens, for each.
            longest: tokens of the longest row, including the rows already in the cache.
            living: tokens of the longest row already in the cache; 0 for none.
        """
        self._make_room(prefilled, longest, living)
        end, head = self._columns.end, self._shared
        for ours, theirs in zip(self.cache.layers, prefilled.layers, strict=True):
            for mine, new in ((ours.keys, theirs.keys), (ours.values, theirs.values)):
                for slot, row, length in rows:
                    mine[slot, :, end - length : end - length + head] = new[row, :, :head]
                    mine[slot, :, end - length + head : end] = new[row, :, new.shape[2] - (length - head) :]

    def before_step(self, longest: int) -> None:
        """Use no more columns than the longest row has, and make sure that one more is free."""
        columns = self._columns
        if columns.end == self.cache.layers[0].keys.shape[2]:
            self._move(longest, longest)
        columns.start = columns.end - longest

    def after_step(self) -> None:
        """Count the column that every layer has written."""
        self._columns.end += 1

    def keep(self, slots: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[list(slots)], layer.values[list(slots)]

    def _make_room(self, prefilled: DynamicCache, longest: int, living: int) -> None:
        if not self.cache.layers:
            shapes = [(layer.keys, layer.values) for layer in prefilled.layers]
            self.cache.layers = [
                _SlotLayer(self._columns, self._empty(keys, longest), self._empty(values, longest))
                for keys, values in shapes
            ]
            self._columns.end = longest
        elif self._columns.end < longest:
            self._move(living, longest)

    def _empty(self, like: torch.Tensor, longest: int) -> torch.Tensor:
        return like.new_zeros(self._count, like.shape[1], longest + NEW_COLUMNS, like.shape[3])

    def _move(self, width: int, end: int) -> None:
        """Move the last ``width`` columns so that they end at ``end``, with free columns after it."""
        old = self._columns.end
        for layer in self.cache.layers:
            layer.keys = _moved(layer.keys, old - width, old, end)
            layer.values = _moved(layer.values, old - width, old, end)
        self._columns.end = end


def _moved(held: torch.Tensor, start: int, stop: int, end: int) -> torch.Tensor:
    kept = held[:, :, start:stop].clone()
    if held.shape[2] < end + NEW_COLUMNS:
        held = held.new_zeros(*held.shape[:2], end + NEW_COLUMNS, held.shape[3])
    held[:, :, end - (stop - start) : end] = kept
    return held

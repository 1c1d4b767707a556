"""What was found by trying a model, kept in the cache: each process that loads the model would try it again.

The trials take several CPU-seconds, as long as a process takes to load a small model. What they find follows from the
weights, our code and what computes, so it is kept under a hash of all of them. A model that is not decoded in batches
is tried again by each process: what kept it from that may have been a full memory.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from state.errors import StorageError
from state.records import Record, content_hash
from tools.files import file_hash, write_file
from tools.weights.adapters import adapter_identity
from tools.weights.arithmetic import arithmetic
from tools.weights.decodable import set_tried, trial_refusal
from tools.weights.decoding import logits_in_a_batch
from tools.weights.folders import folder_fingerprint
from tools.weights.invariance import invariant_sizes, sizes_to_try
from tools.weights.trust import code_options

ONE_BY_ONE = (1,)
"""The batch sizes of a model that is not decoded in batches."""


class Kept(Record):
    """What was found of a model that is decoded in batches."""

    key: str
    """Of what it was found for; the file's name as well."""
    sizes: tuple[int, ...]
    """Of those that were tried the ones in which rows are the same; the largest is one of them."""


def batch_sizes(model: Any, base: Path, adapter: Path | None, cache: Path) -> tuple[int, ...]:
    """Return the sizes of the batches in which a model is decoded, ascending, from the cache or by trying it.

    Args:
        model: as ``tools.weights.loading.load_model`` loads it, on the device on which it answers.
        base: the folder that it was loaded from.
        adapter: the adapter that was merged into it, or ``None``.
        cache: keeps what was found, where it can be written.
    """
    key = trial_key(model, base, adapter)
    file = cache / "trials" / f"{key}.json"
    if key and (sizes := _kept(file, key, sizes_to_try(model))):
        set_tried(model)
        return sizes
    if trial_refusal(model, logits_in_a_batch):
        return ONE_BY_ONE
    sizes = invariant_sizes(model)
    if key:
        with suppress(StorageError):  # where the cache cannot be written, each process tries by itself
            write_file(file, Kept(key=key, sizes=sizes).model_dump_json().encode())
    return sizes


def trial_key(model: Any, base: Path, adapter: Path | None) -> str | None:
    """Return a hash of all that the trials' outcome follows from; ``None`` where not all of it is known.

    A merged adapter changes no shape, but it does change which expert of a mixture a token goes to, and so which
    products there are: the weights are in the hash.
    """
    computing = arithmetic(model.device)
    if computing is None or code_options(base):  # a model's own code may do anything
        return None
    code = [file_hash(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    weights = adapter_identity(adapter, base) if adapter else folder_fingerprint(base)
    return content_hash(computing, code, weights, str(model.dtype), sizes_to_try(model))


def _kept(file: Path, key: str, tried: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the sizes in a file; ``None`` where it is missing, damaged, or of something else."""
    try:
        kept = Kept.model_validate_json(file.read_bytes())
    except (OSError, ValueError):
        return None
    own = kept.key == key and kept.sizes == tuple(size for size in tried if size in (*kept.sizes, tried[-1]))
    return kept.sizes if own else None

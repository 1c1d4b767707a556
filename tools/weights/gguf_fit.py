"""Why llama.cpp refuses GGUF adapters: it says no more than that it did not start."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from state.errors import BadInput

LEFT, RIGHT = ".lora_b", ".lora_a"
"""The factors of a weight's change, as llama.cpp names them: rows are those of the left one, columns of the right."""


class _Read(NamedTuple):
    """What matters of a GGUF file."""

    architecture: str
    shapes: dict[str, tuple[int, ...]]
    """By the name of a weight: columns, then rows."""


def unfit(adapters: Mapping[str, Path], base: Path) -> dict[str, str]:
    """Return why some GGUF adapters cannot be put on a base, by their names; those that can are left out.

    Args:
        adapters: files by name; no weight of them is read.
        base: the base's file.

    Raises:
        BadInput: the base's file cannot be read.
    """
    there, found = _read(base), {}
    for name, file in adapters.items():
        try:
            if why := _difference(_read(file), there):
                found[name] = f"{file} is no adapter of {base}: {why}"
        except BadInput as error:
            found[name] = str(error)
    return found


def _difference(own: _Read, base: _Read) -> str:
    """Return the first thing in which an adapter differs from what fits a base; empty where it fits."""
    if own.architecture != base.architecture:
        return f"one is a {own.architecture}, the other a {base.architecture}"
    changed = sorted({name.removesuffix(LEFT).removesuffix(RIGHT) for name in own.shapes})
    for name in changed:
        left, right, there = own.shapes.get(name + LEFT), own.shapes.get(name + RIGHT), base.shapes.get(name)
        if there is None:
            return f"the base has no {name}"
        if left is None or right is None or right[1] != left[0]:
            return f"{name} is not two factors"
        if (made := (right[0], left[1])) != there:
            return f"{name} is {_words(made)} in it, and {_words(there)} in the base"
    return "" if changed else "it holds no weights"


def _words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _read(file: Path) -> _Read:
    try:
        found = file.stat()
    except OSError as error:
        raise BadInput(f"{file} cannot be read as a GGUF file: {error.strerror}") from error
    return _read_once(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=32)
def _read_once(file: Path, changed: int, size: int) -> _Read:
    """Read a file as it was changed last: the vocabulary of a base takes seconds each time an engine is exchanged."""
    import gguf

    try:
        reader: Any = gguf.GGUFReader(file)
        architecture = str(reader.fields["general.architecture"].contents())
        return _Read(architecture, {one.name: tuple(map(int, one.shape)) for one in reader.tensors})
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BadInput(f"{file} cannot be read as a GGUF file: {' '.join(str(error).split())}") from error

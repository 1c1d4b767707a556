"""A run's own inputs: copies of the files that its request names, in the run's folder, with their hashes.

What the person has on disk may be edited, moved or named relative to another folder; a run reads its copies. A table is
copied as JSON, one row a line. The manifest is written last, so that inputs are whole where there is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path

from state.errors import BadInput, StorageError
from state.request import RunRequest
from tools.files import file_hash, storage_errors, write_file
from tools.shipped import find_file
from tools.sources.reader import bytes_of_rows

FOLDER = "inputs"
"""In a run's folder."""
MANIFEST = "manifest.json"
SEEDS, PROMPTS, GOLD = "seeds.jsonl", "prompts.jsonl", "gold.jsonl"
IFEVAL, ACCELERATE = "ifeval.jsonl", "accelerate.yaml"
"""What the copies are called, whatever the person called the files."""


def named_files(request: RunRequest, shipped: Collection[str]) -> dict[str, Path]:
    """Return the files that a request names, by the name of their copy.

    Args:
        request: the run's.
        shipped: names of configs for accelerate that come with Corral, and so are no files of the person's.
    """
    config = request.train.accelerate_config
    named = {
        SEEDS: request.sources.seeds,
        PROMPTS: request.sources.prompts,
        GOLD: request.sources.gold,
        IFEVAL: request.evaluate.ifeval,
        ACCELERATE: None if config in shipped else config,
    }
    return {copy: find_file(name) for copy, name in named.items() if name is not None}


def with_copies(request: RunRequest, copies: Mapping[str, Path]) -> RunRequest:
    """Return the request with copies of files in the place of the files; the keys are those of ``named_files``."""
    named = (("seeds", SEEDS), ("prompts", PROMPTS), ("gold", GOLD))
    sources = {name: str(copies[copy]) for name, copy in named if copy in copies}
    evaluate = {"ifeval": str(copies[IFEVAL])} if IFEVAL in copies else {}
    train = {"accelerate_config": str(copies[ACCELERATE])} if ACCELERATE in copies else {}
    return request.model_copy(
        update={
            "sources": request.sources.model_copy(update=sources),
            "evaluate": request.evaluate.model_copy(update=evaluate),
            "train": request.train.model_copy(update=train),
        }
    )


def copy_inputs(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files into a run's folder for inputs.

    A file that lies there already under the copy's name, but on no manifest, is taken in the place of the one that is
    named: a person has put it there, since the one that was named is gone.

    Args:
        files: the person's files, by the name of the copy.
        folder: the run's folder for inputs; made where it is missing.

    Raises:
        BadInput: a file cannot be read; the message says where to put it.
        StorageError: the folder cannot be written.
    """
    found = {copy: _read(path, folder / copy) for copy, path in files.items()}
    manifest = {
        copy: {"from": str(files[copy]), "sha256": hashlib.sha256(data).hexdigest()} for copy, data in found.items()
    }
    for copy, data in found.items():
        write_file(folder / copy, data)
    write_file(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def _read(path: Path, copy: Path) -> bytes:
    try:
        if copy.is_file():
            return copy.read_bytes()
        return path.read_bytes() if copy.name == ACCELERATE else bytes_of_rows(path)
    except OSError as error:
        raise BadInput(
            f"the run's file {path} cannot be read ({error.strerror or error}); copy it to {copy}, then go on"
        ) from error


def read_inputs(folder: Path) -> dict[str, Path] | None:
    """Return a run's copies, by name; ``None`` where none were made.

    Raises:
        BadInput: a copy is missing, or is not what was copied.
        StorageError: the manifest cannot be read.
    """
    path = folder / MANIFEST
    with storage_errors(path):
        if not path.is_file():
            return None
        try:
            hashes = {copy: str(kept["sha256"]) for copy, kept in json.loads(path.read_text(encoding="utf-8")).items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{path} is no manifest of inputs any more; restore it from a backup") from error
    for copy, kept in hashes.items():
        _demand(folder / copy, kept)
    return {copy: folder / copy for copy in hashes}


@lru_cache(maxsize=64)
def _hash(copy: Path, changed_at: int, size: int) -> str:
    """Return a copy's hash; every batch of a step asks, and a file of the same time and size is not read again."""
    return file_hash(copy)


def _demand(copy: Path, kept: str) -> None:
    try:
        status = copy.stat()
        there = _hash(copy, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise BadInput(f"{copy}, the run's own copy, cannot be read ({error.strerror}); put it back") from error
    if there != kept:
        raise BadInput(
            f"{copy}, the run's own copy, was changed since the run began; put the original back (SHA-256 {kept}), or "
            "start a new run with the changed file"
        )

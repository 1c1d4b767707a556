"""What is needed to serve a registry's version with llama.cpp: its files, its base, and how it reads a prompt."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from state.errors import BadInput, PromptTooLong
from state.records import content_hash
from state.request import EMBEDDED
from tools.files import file_hash
from tools.registry.version import GGUF
from tools.weights.adapters import ADAPTER_CONFIG, adapter_identity, find_base
from tools.weights.folders import base_folder, folder_fingerprint
from tools.weights.gguf_files import write_gguf_adapter
from tools.weights.template import load_tokenizer, prompt_tokens

READS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""The files that say how a prompt is read."""


class ServedBase(NamedTuple):
    """A base that is served."""

    folder: Path
    fingerprint: str


class Reader:
    """How a version reads a prompt: its own tokenizer and chat template.

    Args:
        folder: holds both.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = load_tokenizer(folder)
        self._longest = max(map(len, self.tokenizer.get_vocab()))

    def tokens(self, turns: Sequence[Mapping[str, str]], context: int, answer: int) -> list[int]:
        """Return a prompt's token ids.

        Args:
            turns: the chat.
            context: tokens that prompt and answer may have together.
            answer: tokens of the answer that are wanted, at least 1.

        Raises:
            PromptTooLong: they do not fit; one line with the numbers.
            BadInput: the chat template refuses the turns.
        """
        # No token has more characters than the longest: what is far too long is not read for minutes first.
        least = sum(len(turn["content"]) for turn in turns) // self._longest
        if least >= context:
            raise PromptTooLong(f"the context has {context} tokens, and the prompt has at least {least}; shorten it")
        found = prompt_tokens(self.tokenizer, turns)
        if not found:
            raise BadInput("the prompt is empty")
        if len(found) + answer > context:
            raise PromptTooLong(
                f"the context has {context} tokens, and the prompt has {len(found)}, with {answer} more for the "
                f"answer: {len(found) + answer}; shorten the prompt, or ask for fewer tokens"
            )
        return found


class Readers:
    """Readers by what their files hold: versions of one base share one."""

    def __init__(self) -> None:
        self._made: dict[str, Reader] = {}
        self._making = threading.Lock()

    def of(self, folder: Path) -> Reader:
        """Return a folder's reader; it blocks while the first of its kind is made."""
        key = content_hash([(name, file_hash(folder / name)) for name in READS if (folder / name).is_file()])
        with self._making:
            if key not in self._made:
                self._made[key] = Reader(folder)
            return self._made[key]


def base_of(version: Path | None, cache: Path) -> ServedBase:
    """Return the base of a version, or the embedded one where there is no version.

    Raises:
        BadInput: it is not on this machine.
    """
    folder = base_folder(EMBEDDED, cache) if version is None else find_base(version, None, cache)
    return ServedBase(folder, folder_fingerprint(folder))


def gguf_adapter_of(version: Path, base: ServedBase, cache: Path) -> Path:
    """Return a version's adapter as a GGUF file; one that an earlier Corral wrote gets one in the cache.

    Raises:
        BadInput: it is of another base than the one that is served, or llama.cpp cannot serve it.
        StorageError: the cache cannot be written.
    """
    own = base_of(version, cache)
    if own.fingerprint != base.fingerprint:
        raise BadInput(
            f"version {version.name} is an adapter of another base, {own.folder}; {base.folder} is served. Point "
            f"the registry at it to serve its base: corral rollback {version.name}"
        )
    if (there := version / GGUF).is_file():
        return there
    made = cache / "gguf" / f"adapter-{adapter_identity(version, own.folder)[:16]}.gguf"
    if not made.is_file():
        made.parent.mkdir(parents=True, exist_ok=True)
        write_gguf_adapter(version, own.folder, made)
    return made


def reader_folder(version: Path, base: ServedBase) -> Path:
    """Return the folder that says how a version reads a prompt: its own, or its base's for one of an earlier Corral."""
    own = (version / ADAPTER_CONFIG).is_file() and any((version / name).is_file() for name in READS[:2])
    return version if own else base.folder

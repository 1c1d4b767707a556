"""Answers on disk as they come, so that a killed evaluation goes on: a JSON line each, under what it follows from."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from state.errors import BadInput
from state.records import Record, content_hash
from tools.files import storage_errors


class KeptAnswer(Record):
    """One line of the file: a model's greedy answer to a prompt."""

    model: str
    """The model's identity: base or adapter, by content."""
    prompt: str
    max_tokens: int
    text: str
    ended: bool
    tokens: int

    @property
    def key(self) -> str:
        """What the answer follows from."""
        return answer_key(self.model, self.prompt, self.max_tokens)


def answer_key(model: str, prompt: str, max_tokens: int) -> str:
    """Return a hash of what a greedy answer follows from."""
    return content_hash(model, prompt, max_tokens)


class KeptAnswers:
    """The answers of one file, by key; ``open_answers`` makes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._found: dict[str, KeptAnswer] = {}
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            if answer := _parsed(line):
                self._found[answer.key] = answer
        # What a kill left half written makes room for the next line.
        file.truncate(whole)
        file.seek(whole)

    def __getitem__(self, key: str) -> KeptAnswer:
        return self._found[key]

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def add(self, answer: KeptAnswer) -> None:
        """Write one answer through to the disk.

        Raises:
            StorageError: the disk is full or read-only.
        """
        with storage_errors(Path(self._file.name)):
            self._file.write(json.dumps(answer.model_dump(), ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self._found[answer.key] = answer


@contextmanager
def open_answers(path: Path) -> Iterator[KeptAnswers]:
    """Open a file of answers for one evaluation at a time, making it and its folder where they are missing.

    Raises:
        BadInput: another evaluation has it open.
        StorageError: it cannot be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"another evaluation writes to {path}; wait for it, or name another folder with --out"
            ) from error
        file.seek(0)
        with storage_errors(path):
            answers = KeptAnswers(file)
        yield answers


def _parsed(line: bytes) -> KeptAnswer | None:
    try:
        return KeptAnswer.model_validate_json(line)
    except ValidationError:
        return None

"""What ended a child process, in its own words: the last exception of its log that is not its launcher's. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

HEAD = "Traceback (most recent call last):"
RANK = re.compile(r"^\[rank\d+\]:\s?")
"""Before each line of a process among several."""
LAUNCHERS = (
    "accelerate/commands/",
    "torch/distributed/run.py",
    "torch/distributed/launcher/",
    "torch/distributed/elastic/",
)
"""Files whose frames mark a traceback that only says that another process failed."""
SIGNAL = re.compile(r"died with <Signals\.(SIG[A-Z0-9]+): \d+>|Signal \d+ \((SIG[A-Z0-9]+)\)")
LONGEST = 400
"""Characters that are quoted."""


def what_ended(log: str) -> str | None:
    """Return the exception, or the signal, that ended a process; ``None`` where its log has neither.

    Args:
        log: what it, and a launcher around it, wrote to stderr.
    """
    own = [words for words, frames in tracebacks(log.splitlines()) if not _of_a_launcher(frames)]
    if own:
        return own[-1]
    if found := SIGNAL.search(log):
        name = found.group(1) or found.group(2)
        return killed_by(name)
    told = [words for words, _ in tracebacks(log.splitlines())]
    return told[-1] if told else None


def killed_by(signal: str) -> str:
    """Return what a signal that ended a process means."""
    hint = "; the system does that where memory runs out" if signal == "SIGKILL" else ""
    return f"it was ended by {signal}{hint}"


def tracebacks(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each traceback of a log: its exception as one line, and its frames."""
    bare = [RANK.sub("", line) for line in lines]
    for place, line in enumerate(bare):
        if line.strip() != HEAD:
            continue
        depth = len(line) - len(line.lstrip())
        frames: list[str] = []
        rest = iter(bare[place + 1 :])
        for inner in rest:
            if inner.strip() and len(inner) - len(inner.lstrip()) <= depth:
                yield _in_one_line(inner, rest), frames
                break
            frames.append(inner)


def _in_one_line(first: str, rest: Iterator[str]) -> str:
    """Return an exception's line; of a message that only begins there, the next line, too, if it is not another's."""
    words = first.strip()
    if words.endswith(":") and (more := next((line.strip() for line in rest if line.strip()), HEAD)) != HEAD:
        words += f" {more}"
    return words if len(words) <= LONGEST else words[:LONGEST] + "..."


def _of_a_launcher(frames: Sequence[str]) -> bool:
    return any(mark in frame.replace("\\", "/") for frame in frames for mark in LAUNCHERS)

"""The judged text as the crew sees it: cut to fit, fenced, and safe from being read as a template or an order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from state.records import CheckResult

_TAGS = re.compile(r"<(?=\s*/?\s*(?:task|answer|context|checks|first|second)\b)", re.IGNORECASE)
_PIECES = re.compile(r"[A-Za-z]+|\s+|[\x00-\x7f]|[^\x00-\x7f]")
_OPEN, _CLOSE = "\ue000", "\ue001"
_SHIELD = str.maketrans({"{": _OPEN, "}": _CLOSE, _OPEN: "\ufffd", _CLOSE: "\ufffd"})
_UNSHIELD = str.maketrans({_OPEN: "{", _CLOSE: "}"})


def shield(text: str) -> str:
    """Replace braces by private-use characters, so that CrewAI never fills in a ``{tools}`` of the text."""
    return text.translate(_SHIELD)


def unshield(text: str) -> str:
    """Undo ``shield``, just before the text goes to the model."""
    return text.translate(_UNSHIELD)


def estimated_tokens(text: str) -> float:
    """Return about how many tokens a byte-level tokenizer makes of a text, rather too many than too few.

    Words cost a quarter of a token a letter and at least one; very long ones, which are seldom words, 0.6 a letter;
    white space is free between words; digits and signs cost one; other scripts a token for each two bytes.
    """
    return sum(_cost(piece) for piece in _PIECES.findall(text))


def _cost(piece: str) -> float:
    if piece.isspace():
        return float(piece.count("\n"))
    if piece.isascii():
        return max(1.0, len(piece) * (0.25 if len(piece) <= 16 else 0.6))
    return len(piece.encode("utf-8", "surrogatepass")) / 2


def fit(text: str, tokens: int) -> str:
    """Return a text of at most about ``tokens`` tokens: two thirds from its start, one from its end, the cut named."""
    if estimated_tokens(text) <= tokens:
        return text
    pieces = _PIECES.findall(text)
    head = "".join(_take(pieces, tokens * 2 / 3))
    tail = "".join(reversed(_take(reversed(pieces), tokens / 3)))
    return f"{head.rstrip()}\n[... {len(text) - len(head) - len(tail)} characters left out ...]\n{tail.lstrip()}"


def _take(pieces: Iterable[str], tokens: float) -> list[str]:
    taken: list[str] = []
    for piece in pieces:
        tokens -= _cost(piece)
        if tokens < 0:
            break
        taken.append(piece)
    return taken


def subject(
    prompt: str, answer: str, checks: Iterable[CheckResult], context: Mapping[str, Any] | None, tokens: int
) -> str:
    """Render what is judged.

    Args:
        prompt: what was asked.
        answer: the completion to judge.
        checks: what was verified; only those that apply are shown, failed ones first.
        context: what the judges should know of brand and readers.
        tokens: about how many tokens prompt, answer, context and checks may take together.

    Returns:
        Tagged blocks. Tags inside the untrusted texts are broken, so that no text can close its own block.
    """
    return _tagged(
        task=fit(prompt, tokens // 4),
        context=fit(_facts(context), tokens // 8),
        answer=fit(answer, tokens // 2),
        checks=fit(_evidence(checks), tokens // 8),
    )


def pair_subject(
    prompt: str,
    answers: Sequence[str],
    checks: Sequence[Iterable[CheckResult]],
    context: Mapping[str, Any] | None,
    tokens: int,
) -> str:
    """Render two answers to one prompt, in the order they are to be read; arguments as for ``subject``, by answer."""
    return _tagged(
        task=fit(prompt, tokens // 4),
        context=fit(_facts(context), tokens // 8),
        first=fit(answers[0], tokens // 4),
        first_checks=fit(_evidence(checks[0]), tokens // 16),
        second=fit(answers[1], tokens // 4),
        second_checks=fit(_evidence(checks[1]), tokens // 16),
    )


def _tagged(**blocks: str) -> str:
    texts = ((tag, _TAGS.sub("<_", text.strip())) for tag, text in blocks.items())
    needed = ("task", "answer", "first", "second")
    return "\n".join(f"<{tag}>\n{text}\n</{tag}>" for tag, text in texts if text or tag in needed)


def _facts(context: Mapping[str, Any] | None) -> str:
    return json.dumps(dict(context), ensure_ascii=False, default=str, sort_keys=True) if context else ""


def _evidence(checks: Iterable[CheckResult]) -> str:
    return "\n".join(f"{'ok' if check.passed else 'FAILED'}: {check.evidence}" for check in _by_weight(checks))


def _by_weight(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """Return failed checks first. A policy rule that was kept says nothing about the answer's quality: left out."""
    telling = (c for c in checks if c.passed is False or (c.passed and not c.kind.startswith("policy:")))
    return sorted(telling, key=lambda c: bool(c.passed))

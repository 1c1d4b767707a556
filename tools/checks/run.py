"""Run written checks over a text, strictly or loosely."""

from __future__ import annotations

from collections.abc import Sequence

from state.records import Check, CheckResult
from tools.checks.demands import demand, kind_of
from tools.checks.kinds import KINDS
from tools.checks.text import normal, without_fence


def run_checks(checks: Sequence[Check], text: str, *, loose: bool = False) -> tuple[CheckResult, ...]:
    """Decide each check on a text.

    Args:
        checks: demands, as written in a prompts file.
        text: the completion; white space around it does not count. An empty text passes nothing.
        loose: also accept a check that passes without the first line, the last line or both, without emphasis
            marks, or without all of these: the eight forms of IFEval's loose accuracy, since models like to say
            "Sure, here it is:" first. Corral's own kinds also forgive a code fence.

    Returns:
        One result for each check, in order.

    Raises:
        BadInput: a check of unknown kind, or with an argument that does not fit.
    """
    plain = normal(text)
    forms = _forms(plain) if loose else [plain]
    ours = [*forms, without_fence(plain).strip()] if loose else forms
    return tuple(_first_passed(check, ours if check.kind in KINDS else forms) for check in checks)


def _first_passed(check: Check, forms: Sequence[str]) -> CheckResult:
    results = (_decide(check, form) for form in forms)
    first = next(results)
    return first if first.passed else next((result for result in results if result.passed), first)


def _decide(check: Check, text: str) -> CheckResult:
    demand(check)
    passed, evidence = kind_of(check).decide(text, check.value) if text else (False, "the text is empty")
    return CheckResult(kind=check.kind, passed=passed, evidence=evidence)


def _forms(text: str) -> list[str]:
    """Return the text as it is, then without the lines and marks in which models wrap a good answer."""
    rows = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (rows[1:], rows[:-1], rows[1:-1]))]
    every = cut + [form.replace("*", "").strip() for form in cut]
    return list(dict.fromkeys(form for form in every if form)) or [text]

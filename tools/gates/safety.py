"""The safety gate: which rules of the safety policy does a row break?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from state.records import Sample
from tools.gates.gate import Gate
from tools.gates.results import Issue, Severity
from tools.gates.safety_policy import SafetyPolicy

_SHOWN = 60
_DISCUSSES = re.compile(
    r"\b(?:detect|identify|find|spot|explain|analy[sz]e|classify|tell|list|name|discuss|describe|redact|censor|moderate"
    r"|remove|is|does|why|what)\b.*\b(?:bias|stereotyp|offen[ds]|toxic|hate\s*speech|profan|slur|insult|sexis|racis"
    r"|misconception|myth|not\s+true|untrue|prejudice|sensitive|harmful|rude)",
    re.IGNORECASE | re.DOTALL,
)


def safety_issues(sample: Sample, policy: SafetyPolicy) -> list[Issue]:
    """Return at most one issue for each rule that the instruction, input or output breaks."""
    fields = [
        (name, unicodedata.normalize("NFKC", text))
        for name, text in (("instruction", sample.instruction), ("input", sample.input), ("output", sample.output))
        if text
    ]
    return list(_issues(fields, policy))


def discusses_harm(instruction: str) -> bool:
    """Return whether an instruction asks to find, explain or remove what offends: then the row may quote it."""
    return _DISCUSSES.search(instruction) is not None


def _issues(fields: list[tuple[str, str]], policy: SafetyPolicy) -> Iterator[Issue]:
    for compiled in policy.compiled:
        for name, text in fields:
            if hit := compiled.first_hit(text):
                shown = hit if len(hit) <= _SHOWN else hit[:_SHOWN] + "..."
                rule = compiled.rule
                yield Issue(code=rule.code, detail=f"{rule.detail}: {shown!r} in the {name}", severity=rule.severity)
                break


class SafetyGate(Gate):
    """Refuses what the safety policy forbids. Its codes are the policy's own."""

    name = "safety"

    def issues(self, sample: Sample) -> list[Issue]:
        """Return the rules that the row breaks; under ``modern``, a row about such texts breaks critical ones alone."""
        found = safety_issues(sample, self.inputs.policy)
        if self.inputs.settings.preset == "modern" and discusses_harm(sample.instruction):
            return [issue for issue in found if issue.severity is Severity.CRITICAL]
        return found

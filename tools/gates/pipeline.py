"""The gates in order: a batch in, a decision for each row out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from state.errors import BadInput
from state.records import Outcome, Sample
from state.request import Gates
from tools.gates.coherence import CoherenceGate
from tools.gates.content import ContentGate
from tools.gates.diversity import DiversityGate
from tools.gates.gate import Gate, GateInputs, Opinion
from tools.gates.language import known_language
from tools.gates.results import GateDecision, GateResult, Severity, Similar, decide_row
from tools.gates.safety import SafetyGate
from tools.gates.safety_policy import DEFAULT_POLICY, SafetyPolicy, load_safety_policy

GATE_CLASSES: tuple[type[Gate], ...] = (ContentGate, DiversityGate, SafetyGate, CoherenceGate)
"""The gates, in the order in which a row meets them."""
GATES = tuple(gate.name for gate in GATE_CLASSES)
"""Their names."""


def demand_known_rules(settings: Gates, policy: SafetyPolicy | None = None) -> None:
    """Check the rules that are to be off, or to weigh otherwise.

    Args:
        settings: the gates'.
        policy: the safety policy, whose rules are known too; ``None`` for ours.

    Raises:
        BadInput: one is no rule of a gate or of the safety policy, the nearest is named; or ``gates.language`` is no
            language that can be told.
    """
    if settings.language not in ("en", "any") and not known_language(settings.language):
        raise BadInput(f"gates.language: {settings.language!r} is no language that can be told; give any, or its code")
    rules = (policy or load_safety_policy(DEFAULT_POLICY)).rules if settings.off or settings.severity else ()
    known = [code for gate in GATE_CLASSES for code in gate.codes] + [rule.code for rule in rules]
    for setting, codes in (("off", settings.off), ("severity", settings.severity)):
        for code in codes:
            if code not in known:
                near = get_close_matches(code, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the rules are {', '.join(known)}"
                raise BadInput(f"gates.{setting}: {code!r} is no rule; {hint}")


class GatePipeline:
    """Judges rows one after another against everything kept so far.

    Accepted rows join the diversity index as they come, so the order of a batch matters and a row can repeat one of the
    same batch. Rows that wait for a person or are rejected do not join. CPU-bound: about a millisecond for each row.

    Args:
        settings: thresholds of the run.
        kept: instructions that a new one must not repeat: the seeds, and what earlier rounds accepted.
        policy: the safety policy or its file; ours where none is given.
        opinion: returns a model's opinion for the coherence gate, given beforehand. Its exceptions are passed on.

    Raises:
        BadInput: the policy's file is wrong, or a rule that is to be off is unknown.
    """

    def __init__(
        self,
        settings: Gates,
        kept: Iterable[str],
        *,
        policy: Path | str | SafetyPolicy = DEFAULT_POLICY,
        opinion: Opinion | None = None,
    ) -> None:
        loaded = policy if isinstance(policy, SafetyPolicy) else load_safety_policy(Path(policy))
        demand_known_rules(settings, loaded)
        self._settings = settings
        self._gates = [gate(GateInputs(settings, loaded, opinion)) for gate in GATE_CLASSES]
        self._kept = 0
        for instruction in kept:
            self._keep(instruction)

    def __len__(self) -> int:
        """Return the number of kept instructions."""
        return self._kept

    def judge(self, samples: Sequence[Sample]) -> list[GateDecision]:
        """Judge a batch in its order; a row's faults are in its decision and never raise."""
        return [self._judge_one(sample) for sample in samples]

    def _judge_one(self, sample: Sample) -> GateDecision:
        results: list[GateResult] = []
        similar: Similar | None = None
        for gate in self._gates:
            results.append(gate.judge(sample))
            similar = similar or gate.similar(sample)
            if results[-1].severity is Severity.CRITICAL:
                break
        decision = decide_row(sample.id, results, self._settings).model_copy(update={"similar": similar})
        if decision.outcome is Outcome.ACCEPTED:
            self._keep(sample.instruction)
        return decision

    def _keep(self, instruction: str) -> None:
        self._kept += 1
        for gate in self._gates:
            gate.keep(instruction)

"""The four gates in order: content, diversity, safety, coherence; a batch in, a decision for each row out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from state.records import Outcome, Sample
from state.request import Gates
from tools.gates.coherence import Opinion, coherence_issues
from tools.gates.content import content_issues
from tools.gates.diversity import DiversityIndex
from tools.gates.results import GateDecision, GateResult, Issue, Severity, decide_row, result_of
from tools.gates.safety import DEFAULT_POLICY, SafetyPolicy, load_safety_policy, safety_issues


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
        BadInput: the policy's file is wrong.
    """

    def __init__(
        self,
        settings: Gates,
        kept: Iterable[str],
        *,
        policy: Path | str | SafetyPolicy = DEFAULT_POLICY,
        opinion: Opinion | None = None,
    ) -> None:
        self._settings = settings
        self._policy = policy if isinstance(policy, SafetyPolicy) else load_safety_policy(Path(policy))
        self._opinion = opinion
        self._index = DiversityIndex(settings.rouge_threshold)
        self._kept: list[str] = []
        for instruction in kept:
            self._keep(instruction)

    def __len__(self) -> int:
        """Return the number of kept instructions."""
        return len(self._index)

    def judge(self, samples: Sequence[Sample]) -> list[GateDecision]:
        """Judge a batch in its order; a row's faults are in its decision and never raise."""
        return [self._judge_one(sample) for sample in samples]

    def _judge_one(self, sample: Sample) -> GateDecision:
        results = [self._content(sample)]
        for gate in (self._diversity, self._safety, self._coherence):
            if results[-1].severity is Severity.CRITICAL:
                break
            results.append(gate(sample))
        decision = decide_row(sample.id, results, self._settings)
        if decision.outcome is Outcome.ACCEPTED:
            self._keep(sample.instruction)
        return decision

    def _keep(self, instruction: str) -> None:
        self._index.add(instruction)
        self._kept.append(instruction)

    def _content(self, sample: Sample) -> GateResult:
        return result_of("content", content_issues(sample), self._settings)

    def _diversity(self, sample: Sample) -> GateResult:
        repeated = self._index.match(sample.instruction)
        issues = [] if repeated is None else [_too_similar(self._kept[repeated], self._settings.rouge_threshold)]
        return result_of("diversity", issues, self._settings)

    def _safety(self, sample: Sample) -> GateResult:
        return result_of("safety", safety_issues(sample, self._policy), self._settings)

    def _coherence(self, sample: Sample) -> GateResult:
        issues = coherence_issues(sample)
        view = self._opinion(sample) if self._opinion is not None else None
        if view is None:
            return result_of("coherence", issues, self._settings)
        score = min(1.0, max(0.0, view[0]))
        result = result_of("coherence", issues, self._settings, opinion=score)
        return result.model_copy(update={"reasons": (*result.reasons, f"model_opinion: {score:.2f}, {view[1]}")})


def _too_similar(kept: str, threshold: float) -> Issue:
    shown = kept if len(kept) <= 100 else kept[:100] + "..."
    detail = f"ROUGE-L above {threshold:g} with {shown!r}"
    return Issue(code="too_similar", detail=detail, severity=Severity.CRITICAL)

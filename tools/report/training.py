"""What a training left in its folder: its decision, its checklists, and every series, figure and flag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from state.records import Record
from tools.report.charts import Line, Mark
from tools.report.scales import duration, number
from tools.training.recipe import PHASES


class Curve(Record):
    """One series of a phase."""

    name: str
    line: Line
    marks: tuple[Mark, ...] = ()


class TrainingPhase(Record):
    """One phase of a round, such as SFT."""

    name: str
    curves: tuple[Curve, ...]
    facts: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]


class ChecklistItem(Record):
    """One item of a checklist."""

    when: str
    """``before``, ``during`` or ``after``."""
    name: str
    outcome: str
    evidence: str


class TrainingRound(Record):
    """One training of the run."""

    name: str
    evaluated: bool
    """Whether its adapter is the one on the scoreboard."""
    decision: tuple[tuple[str, str], ...] = ()
    """What was decided before it began, and the estimated beside the actual time."""
    checklist: tuple[ChecklistItem, ...] = ()
    """The items of its checklists, in order."""
    flags: tuple[str, ...]
    """What stopped it, and every other flag that no phase has."""
    phases: tuple[TrainingPhase, ...]
    versions: tuple[tuple[str, str], ...]


def read_training(
    name: str,
    raw: Mapping[str, Any],
    *,
    evaluated: bool,
    decision: Mapping[str, Any] | None = None,
    checklist: Mapping[str, Any] | None = None,
) -> TrainingRound:
    """Return one training.

    Args:
        name: of its round.
        raw: the JSON of ``summary.json``, of this version or another: lists of numbers are series.
        evaluated: whether the scoreboard is about it.
        decision: the JSON of ``decision.json``.
        checklist: the JSON of ``checklist.json``.
    """
    phases = [phase for phase in raw.get("phases", ()) if isinstance(phase, Mapping)]
    versions = raw.get("versions")
    of_phases = {flag for phase in phases for flag in phase.get("flags") or ()}
    return TrainingRound(
        name=name,
        evaluated=evaluated,
        decision=tuple(_decision((decision or {}).get("decision"))),
        checklist=tuple(_checklist(checklist or {})),
        flags=tuple(str(flag) for flag in raw.get("flags") or () if flag not in of_phases),
        phases=tuple(_phase(phase) for phase in phases),
        versions=tuple((key, str(value)) for key, value in versions.items()) if isinstance(versions, Mapping) else (),
    )


def _decision(raw: object) -> Iterator[tuple[str, str]]:
    if not isinstance(raw, Mapping):
        return
    for key in ("action", "reason", "settled_by"):
        if raw.get(key):
            yield key.replace("_", " "), str(raw[key])
    for key, name in (("estimated_seconds", "estimated"), ("actual_seconds", "took")):
        if _is_number(raw.get(key)):
            yield name, duration(raw[key])
    if _is_number(raw.get("memory_needed")):
        yield "memory", f"{raw['memory_needed'] / 1e9:.1f} GB"


def _checklist(raw: Mapping[str, Any]) -> Iterator[ChecklistItem]:
    for when in ("before", "during", "after"):
        items = raw.get(when)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, Mapping):
                fields = {key: str(item.get(key, "")) for key in ("name", "outcome", "evidence")}
                yield ChecklistItem(when=when, **fields)


def _phase(raw: Mapping[str, Any]) -> TrainingPhase:
    name = str(raw.get("phase", "training"))
    return TrainingPhase(
        name=name,
        curves=tuple(_curves(name, raw)),
        facts=tuple(_facts(raw)),
        flags=tuple(str(flag) for flag in raw.get("flags") or ()),
    )


def _curves(phase: str, raw: Mapping[str, Any]) -> Iterator[Curve]:
    for key, values in raw.items():
        if not _is_series(values) or key.endswith("_steps"):
            continue
        steps = raw.get(f"{key.partition('_')[0]}_steps")
        at = steps if _is_series(steps) and len(steps) == len(values) else range(1, len(values) + 1)
        name = "loss" if key == "losses" else key.replace("_", " ")
        points = tuple((float(x), float(y)) for x, y in zip(at, values, strict=True))
        yield Curve(name=name, line=Line(name=name, points=points), marks=_marks(phase, key))


def _marks(phase: str, series: str) -> tuple[Mark, ...]:
    known = PHASES.get(phase)
    start = known.starts.get(series) if known else None
    return (Mark(name=start[0], value=start[1]),) if start else ()


def _facts(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in raw.items():
        if isinstance(value, bool):
            yield key.replace("_", " "), "yes" if value else "no"
        elif isinstance(value, int | float):
            yield key.replace("_", " "), f"{value:,}" if isinstance(value, int) else number(value)
        elif isinstance(value, str) and key != "phase":
            yield key.replace("_", " "), value


def _is_series(value: object) -> TypeGuard[Sequence[float]]:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0 and all(map(_is_number, value))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

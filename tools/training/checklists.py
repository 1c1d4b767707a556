"""What is checked before, during and after a training. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from state.pipeline import TrainingDecision
from state.request import EMBEDDED
from tools.checklists.items import MACHINE, CheckItem, item
from tools.training.phase import Phase, Row
from tools.training.tripwires import REPETITION

FULL_MEMORY = 0.95
"""Share of the memory that trains, above which the next row may be one too many."""
GRADIENT_GROWTH = 10.0
"""How many times the first third's mean gradient norm that of the last third may be."""
MISESTIMATED = 2.0
"""Ratio of true and estimated time above which a person is told."""
LONG_SECONDS = 60.0
"""Seconds below which a wrong estimate is not worth a warning."""


def rows_items(
    phase: Phase, rows: Sequence[Row], heldout: Sequence[str], fitting: int, max_length: int
) -> list[CheckItem]:
    """Return the checks of a phase's rows, before the training.

    Args:
        phase: whose rows they are.
        rows: as ``phase.read`` returns them.
        heldout: the prompts of the evaluation.
        fitting: rows of at most ``max_length`` tokens.
        max_length: tokens of a row at most.
    """
    prompts = [_plain(row["prompt"][-1]["content"]) for row in rows]
    shared = set(prompts) & {_plain(text) for text in heldout}
    return [
        item(f"{phase.name} rows are there and readable", bool(rows), f"{len(rows)} rows"),
        item(
            f"{phase.name} rows fit train.max_length",
            fitting == len(rows),
            f"{fitting} of {len(rows)} rows have at most {max_length} tokens",
        ),
        item(
            f"no {phase.name} prompt is held out",
            not shared,
            f"{len(shared)} prompts are in both" + (f", such as {min(shared)[:60]!r}" if shared else ""),
        ),
        *phase.row_items(rows),
    ]


def policy_item(served: str, base: str) -> CheckItem:
    """Return whether the model that answered is the one that is trained, as far as their names show.

    Args:
        served: the policy: its weights where they are on this machine, else its name at the server.
        base: the weights that are trained.
    """
    name = "the base is the policy"
    if served == base or _last(served) == _last(base):
        return item(name, True, f"both are {base}")
    if EMBEDDED in (served, base):
        return item(name, False, f"the policy is {served} and the base {base}: the rows are not the base's own answers")
    return item(name, None, f"the policy is named {served} and the base {base}; their weights cannot be compared")


def decision_items(decision: TrainingDecision, memory_free: int, disk_free: int, disk_needed: int) -> list[CheckItem]:
    """Return whether memory and disk sufficed when the decision was made.

    Args:
        decision: what was decided.
        memory_free: bytes on the device that trains.
        disk_free: bytes, where the training is kept.
        disk_needed: bytes.
    """
    memory = f"{decision.memory_needed / 1e9:.1f} GB are needed, {memory_free / 1e9:.1f} GB are free"
    disk = f"{disk_needed / 1e9:.1f} GB are needed, {disk_free / 1e9:.1f} GB are free"
    return [
        item("memory suffices", memory_free >= decision.memory_needed, memory),
        item("disk suffices", disk_free >= disk_needed, disk),
    ]


def during_items(
    summary: Mapping[str, Any], lowest_disk: int | None, highest_memory: float | None = None
) -> list[CheckItem]:
    """Return the checks of what happened while it trained.

    Args:
        summary: the adapter's ``summary.json``.
        lowest_disk: the least free bytes of any step; ``None`` where it was not measured.
        highest_memory: the highest share of the device's memory that was taken; ``None`` where it was not measured.
    """
    items = []
    for phase in summary["phases"]:
        name, losses, gradients = phase["phase"], phase["losses"], phase.get("gradient_norms", [])
        finite = all(map(math.isfinite, losses))
        items += [
            item(f"{name} losses are finite", bool(losses) and finite, f"{len(losses)} steps"),
            item(
                f"{name} gradients are finite and above 0",
                all(map(math.isfinite, gradients)) and max(gradients) > 0 if gradients else None,
                f"from {min(gradients):.3g} to {max(gradients):.3g}" if gradients else "not recorded",
            ),
            item(
                f"{name} made all its steps",
                phase["steps"] == phase["planned_steps"] > 0,
                f"{phase['steps']} of {phase['planned_steps']} steps",
            ),
            _growth(name, gradients),
            _repetition(name, phase["probe_distinct3"]),
        ]
    room = "not measured" if lowest_disk is None else f"at least {lowest_disk / 1e9:.1f} GB were free at every step"
    memory = "not measured" if highest_memory is None else f"{highest_memory:.0%} taken at most"
    items.append(
        item(
            f"{MACHINE}memory stayed under {FULL_MEMORY:.0%}",
            None if highest_memory is None else highest_memory < FULL_MEMORY,
            memory,
        )
    )
    items.append(_pace(summary))
    return [*items, item("disk did not fill up", None if lowest_disk is None else lowest_disk > 2**20, room)]


def after_items(summary: Mapping[str, Any], found: Sequence[CheckItem]) -> list[CheckItem]:
    """Return the checks of the adapter, and whether the losses fell.

    Args:
        summary: the adapter's ``summary.json``.
        found: the checks of the adapter's files.
    """
    items = list(found)
    for phase in summary["phases"]:
        losses = phase["losses"]
        third = len(losses) // 3
        begin, end = (sum(part) / max(1, third) for part in (losses[:third], losses[len(losses) - third :]))
        said = f"{begin:.3f} over the first third, {end:.3f} over the last" if third else f"{len(losses)} steps"
        items.append(item(f"the {phase['phase']} loss went down", end < begin if third else None, said))
    return items


def benchmark_item(verdict: str, said: str) -> CheckItem:
    """Return whether the adapter is at least as good as its base on held-out prompts.

    Args:
        verdict: of the evaluation; empty where it was not made yet.
        said: the verdict with its interval, in words.
    """
    return item("benchmark: not worse than its base", verdict != "worse" if verdict else None, said or "not run yet")


def _growth(phase: str, norms: Sequence[float]) -> CheckItem:
    """Return whether the gradient's norm stayed in bounds: one that grows tenfold comes before a loss that does."""
    third = len(norms) // 3
    if not third:
        return item(f"{phase} gradient norm does not grow", None, f"{len(norms)} steps")
    begin, end = (sum(part) / third for part in (norms[:third], norms[len(norms) - third :]))
    said = f"{begin:.3g} over the first third, {end:.3g} over the last"
    return item(f"{phase} gradient norm does not grow", end <= GRADIENT_GROWTH * begin, said)


def _pace(summary: Mapping[str, Any]) -> CheckItem:
    """Return how many steps a second it made, and whether that is what was estimated."""
    steps = sum(phase["steps"] for phase in summary["phases"])
    took, expected = summary.get("seconds"), summary.get("estimated_seconds")
    name = f"{MACHINE}steps came at the estimated pace"
    if not took or not steps:
        return item(name, None, f"{steps} steps; the time was not measured: it was resumed, or stopped")
    pace = f"{steps / took:.3g} steps a second"
    if not expected or max(took, expected) < LONG_SECONDS:
        return item(name, None, pace)
    said = f"{pace}; {expected:.0f} s were estimated, {took:.0f} s were taken"
    return item(name, took <= MISESTIMATED * expected, said)


def _repetition(phase: str, distinct: Sequence[float]) -> CheckItem:
    """Return whether short answers repeat themselves more than before the training."""
    if len(distinct) < 2:
        return item(f"{phase} answers do not repeat themselves", None, "not probed: several processes, or no steps")
    said = f"distinct 3-grams on the probe went from {distinct[0]:.2f} to {distinct[-1]:.2f}"
    return item(f"{phase} answers do not repeat themselves", distinct[0] - distinct[-1] < REPETITION, said)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _last(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1].lower()

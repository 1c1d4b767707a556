"""The measured review band on simulated judges whose quality is known: is the promise kept, and how much work is saved?

    python benchmarks/review_band.py [REPETITIONS]

A text has a quality; people take it by chance, the likelier the better it is; a judge sees the quality with noise and a
bias. Each repetition (200 where none is given) draws ``JUDGED`` texts. Labels are what a review under the fixed
thresholds brings: all texts between them, and an audit of every tenth of the others. From these the band is measured,
and then held against a million texts drawn anew, where the true error is known to three digits.

Three ways to send texts to people leave the same share of all texts wrongly decided: the measured band; the fixed
thresholds, with as many further texts drawn at random as it takes; random texts alone. ``saved_against_...`` is the
share of people's decisions that the measured band spares beside each. Where the fixed thresholds leave fewer errors
than the band, which keeps the stated rate and no more, they stand as they are. The last line is JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from state.request import Judging  # found from a checkout, too
from tools.judging.decisions import middle_of  # found from a checkout, too
from tools.statistics.risk_control import certain_part  # found from a checkout, too

JUDGED, AUDIT, FRESH = 2000, 0.1, 1_000_000
SETTINGS = Judging()
RATES = (0.05, 0.1, 0.15)
TAKEN_AT, SLOPE = 62.5, 5.0
"""The quality at which people take every second text, and how fast that changes."""


@dataclass(frozen=True)
class SimulatedJudge:
    """A judge whose scores are a text's quality with noise, in points of 100."""

    name: str
    noise: float
    bias: float = 0.0


JUDGES = (
    SimulatedJudge("sharp", 4.0),
    SimulatedJudge("fair", 10.0),
    SimulatedJudge("lenient", 8.0, bias=10.0),
    SimulatedJudge("harsh", 8.0, bias=-10.0),
    SimulatedJudge("poor", 25.0),
)
Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def draw_texts(judge: SimulatedJudge, count: int, draw: np.random.Generator) -> tuple[Scores, Flags]:
    """Return the judge's scores, and whether people take each text."""
    quality = draw.uniform(10, 100, count)
    score = np.clip(quality + judge.bias + draw.normal(0, judge.noise, count), 0, 100).round(2)
    return score, draw.random(count) < 1 / (1 + np.exp((TAKEN_AT - quality) / SLOPE))


@dataclass(frozen=True)
class Sent:
    """What a way to send texts to people comes to, over all texts."""

    sent: float
    """Share that goes to people."""
    left: float
    """Share that is decided wrongly in the end; people are right."""

    def widened_to(self, left: float) -> float:
        """Return the share to send so that no more than ``left`` is wrong, by further texts drawn at random."""
        return self.sent if self.left <= left else self.sent + (1 - self.sent) * (1 - left / self.left)


def outcome_of(waits: Flags, wrong: Flags) -> Sent:
    return Sent(sent=float(waits.mean()), left=float((wrong & ~waits).mean()))


class Found(NamedTuple):
    """One repetition in which a band was shown."""

    error: float
    """Of what the judge decides alone, truly."""
    sent: float
    against_fixed: float
    against_random: float


def repeat(judge: SimulatedJudge, rate: float, fresh: tuple[Scores, Flags], draw: np.random.Generator) -> Found | None:
    middle = middle_of(SETTINGS)
    scores, taken = draw_texts(judge, JUDGED, draw)
    between = (scores >= SETTINGS.review_from) & (scores < SETTINGS.accept)
    labelled = between | (draw.random(JUDGED) < AUDIT)
    wrong = (scores >= middle) != taken
    apart = np.abs(scores - middle)
    weights = np.where(between, 1.0, 1 / AUDIT)
    columns = (apart[labelled].tolist(), wrong[labelled].tolist())
    part = certain_part(*columns, rate, SETTINGS.band_confidence, weights[labelled].tolist())
    if part is None:
        return None
    scores, taken = fresh
    wrong = (scores >= middle) != taken
    measured = outcome_of(np.abs(scores - middle) <= part.above, wrong)
    fixed = outcome_of((scores >= SETTINGS.review_from) & (scores < SETTINGS.accept), wrong)
    nobody = outcome_of(np.zeros(len(scores), dtype=bool), wrong)
    return Found(
        error=measured.left / (1 - measured.sent),
        sent=measured.sent,
        against_fixed=1 - measured.sent / fixed.widened_to(measured.left),
        against_random=1 - measured.sent / max(nobody.widened_to(measured.left), 1e-9) if measured.sent else 1.0,
    )


def main(repetitions: int) -> None:
    began = process_time()
    met: list[float] = []
    saved: list[tuple[float, float]] = []
    print(f"{repetitions} repetitions, {JUDGED} texts each, confidence {SETTINGS.band_confidence:g}")
    print("judge      rate  band shown  rate kept  error  sent   saved against fixed  against random")
    for number, judge in enumerate(JUDGES):
        fresh = draw_texts(judge, FRESH, np.random.default_rng(1000 + number))
        for rate in RATES:
            draw = np.random.default_rng([number, round(rate * 100)])
            tries = (repeat(judge, rate, fresh, draw) for _ in range(repetitions))
            found = [one for one in tries if one is not None]
            # Where no band is shown nothing is promised, and the fixed thresholds stay: that breaks no promise.
            kept = 1 - sum(one.error > rate for one in found) / repetitions
            met.append(kept)
            line = f"{judge.name:10} {rate:.2f}  {len(found) / repetitions:10.0%}  {kept:9.1%}"
            if found:
                both = tuple(
                    statistics.fmean(v) for v in zip(*((f.against_fixed, f.against_random) for f in found), strict=True)
                )
                saved.append((both[0], both[1]))
                error, sent = (statistics.fmean(getattr(f, name) for f in found) for name in ("error", "sent"))
                line += f"  {error:.3f}  {sent:.3f}  {both[0]:19.1%}  {both[1]:14.1%}"
            print(line)
    print(
        json.dumps(
            {
                "error_rate_met": round(min(met), 3),
                "confidence_stated": SETTINGS.band_confidence,
                "saved_against_fixed": round(statistics.fmean(fixed for fixed, _ in saved), 3),
                "saved_against_random": round(statistics.fmean(random for _, random in saved), 3),
                "repetitions": repetitions,
                "cpu_seconds": round(process_time() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

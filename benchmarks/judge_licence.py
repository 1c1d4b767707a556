"""Whether the licence can be fooled: planted judges, false licences, power, and the coverage of kappa's interval.

    python benchmarks/judge_licence.py [REPETITIONS]

Labels are pairs of which people choose the longer answer in 67%, as in PandaLM. The last line is JSON:

* ``false_licence_10``, ``_50``, ``_200``: the largest share of label sets of that size on which a judge was licensed
  that is none: one that costs nothing, or one whose true kappa is just what is demanded;
* ``power_kappa_0_6_200``: the share of sets of 200 labels on which a judge with a true kappa of 0.6 is licensed;
* ``coverage_50``: the least share, over true kappas, of sets of 50 labels whose 95% interval holds the true kappa;
* ``caught_planted``: planted judges that the whole gate refuses, of 6: calibration, its file, and the word of the step.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nodes.assemble import judge_trust  # found from a checkout, too
from state.errors import TrainingError  # found from a checkout, too
from state.request import Judging, RunRequest  # found from a checkout, too
from tests.planted_judges import PLANTED, PlantedJudge, labelled_pairs, oracle  # found from a checkout, too
from tools.judging import calibrate, save_calibration  # found from a checkout, too
from tools.judging.figures import Labelled, ModeFigures, mode_figures  # found from a checkout, too
from tools.judging.licence import refusals_of  # found from a checkout, too
from tools.sources.labels import ChosenPair  # found from a checkout, too

DEMANDED = 0.2
SETTINGS = Judging(licence=DEMANDED)
SIZES = (10, 50, 200)
KAPPAS = (0.0, 0.3, 0.6, 0.8)


def rated(judge: PlantedJudge, pairs: list[ChosenPair]) -> ModeFigures:
    """Return a judge's figures in the mode ``rating``, without what else a calibration holds."""
    said = []
    for pair in pairs:
        one, other = (judge.score(item.sample, item.output) for item in (pair.first, pair.second))
        said.append(0 if one == other else 1 if one > other else 2)
    rows = Labelled(
        [pair.label for pair in pairs],
        said,
        [(len(pair.first.output), len(pair.second.output)) for pair in pairs],
        [pair.first.prompt for pair in pairs],
        [""] * len(pairs),
    )
    return mode_figures("rating", rows, "nominal")


def false_licences(size: int, repetitions: int) -> dict[str, float]:
    """Return how often each judge that is none is licensed; the last one has just the demanded kappa."""
    judges = {name: make for name, make in PLANTED.items() if name != "always first"}
    judges["as good as demanded"] = lambda seed: oracle(DEMANDED, seed)
    found = {}
    for name, make in judges.items():
        # Where people do not prefer length, no baseline helps against the last one.
        longer = 0.5 if name == "as good as demanded" else 0.67
        sets = ((make(seed), labelled_pairs(size, seed, longer)) for seed in range(repetitions))
        found[name] = sum(not refusals_of(rated(*one), SETTINGS) for one in sets) / repetitions
    return found


def power(kappa: float, size: int, repetitions: int) -> float:
    """Return how often a judge of this kappa is licensed."""
    sets = ((oracle(kappa, seed), labelled_pairs(size, seed)) for seed in range(repetitions))
    return sum(not refusals_of(rated(*one), SETTINGS) for one in sets) / repetitions


def coverage(size: int, repetitions: int) -> dict[float, float]:
    """Return how often the interval holds the true kappa, by that."""
    found = {}
    for kappa in KAPPAS:
        figures = [rated(oracle(kappa, seed), labelled_pairs(size, seed)).kappa for seed in range(repetitions)]
        found[kappa] = sum(one.low <= kappa <= one.high for one in figures) / repetitions
    return found


def caught(size: int = 200) -> list[str]:
    """Return the planted judges that the whole gate refuses."""
    request, found = RunRequest(judge=SETTINGS), []
    for name, make in PLANTED.items():
        with tempfile.TemporaryDirectory() as home:
            judge = make(0)
            save_calibration(asyncio.run(calibrate(judge, labelled_pairs(size))), Path(home))
            try:
                judge_trust([judge.identity], request, Path(home))
            except TrainingError:
                found.append(name)
    return found


def main(repetitions: int = 400) -> None:
    """Print a table, and the figures as JSON in the last line."""
    found: dict[str, float] = {}
    for size in SIZES:
        shares = false_licences(size, repetitions)
        print(f"{size} labels, licensed though it is none:", {name: round(share, 4) for name, share in shares.items()})
        found[f"false_licence_{size}"] = max(shares.values())
    for size in SIZES[1:]:
        print(f"{size} labels, licensed by true kappa:", {k: power(k, size, repetitions) for k in (0.4, 0.6, 0.8)})
    found["power_kappa_0_6_200"] = power(0.6, 200, repetitions)
    for size in SIZES:
        shares = coverage(size, repetitions)
        print(f"{size} labels, coverage of kappa's interval by true kappa:", shares)
        found[f"coverage_{size}"] = min(shares.values())
    names = caught()
    print("caught:", ", ".join(names))
    print(json.dumps({**found, "caught_planted": len(names), "planted": len(PLANTED), "repetitions": repetitions}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

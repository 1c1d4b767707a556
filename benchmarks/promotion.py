"""Promotion looked at after every rating: how often a challenger that is no better is promoted, and how soon a better
one is.

    python -m benchmarks.promotion [--experiments 1000] [--ratings 10000]

Ratings are drawn from what people give: 1 to 5 stars with a mean of 3.5 and a standard deviation of 1.3. The better
version moves a part of them one star up. Prints a table, and a line of JSON at the end.
"""  # noqa: D205

from __future__ import annotations

import argparse
import json
import math
import time
from statistics import median

import numpy as np
import numpy.typing as npt

from tools.improvement.promotion import LEAST_GAIN, MOST_RATINGS, RANGE
from tools.statistics.sequences import LEVEL, log_wealth

STARS = np.arange(1, 6)
SHARES = np.array([0.10, 0.14, 0.20, 0.28, 0.28])
SHARE = 0.1
"""Of the traffic that the challenger serves."""


def ratings(generator: np.random.Generator, gain: float, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return stars; ``gain`` is their mean less that of ``SHARES``."""
    stars = generator.choice(STARS, p=SHARES, size=shape)
    below = 1 - SHARES[-1]
    up = (stars < STARS[-1]) & (generator.random(shape) < gain / below)
    return (stars + up).astype(np.float64)


def crossings(gain: float, share: float, experiments: int, most: int, seed: int) -> tuple[list[float], float]:
    """Return after how many ratings each experiment promotes (infinity for never), and the share that is rolled back.

    It is ``decide_by_stars`` after every rating: the lower end of the interval is above 0 as soon as a bet against a
    mean of 0 has made enough, and a gain of ``LEAST_GAIN`` is ruled out in the same way.
    """
    generator = np.random.default_rng(seed)
    block = max(1, round((1 - share) / share))
    pairs = most // (block + 1)
    ours = ratings(generator, gain, (experiments, pairs))
    theirs = ratings(generator, 0.0, (experiments, pairs, block)).mean(axis=2)
    scaled = (ours - theirs + RANGE) / (2 * RANGE)
    enough = math.log(2 / LEVEL)
    up, down = (log_wealth(values, 0.5) >= enough for values in (scaled, 1 - scaled))
    least = (LEAST_GAIN + RANGE) / (2 * RANGE)
    futile = log_wealth(1 - scaled, 1 - least) >= enough
    first_up, first_down, first_futile = (
        np.where(one.any(axis=1), one.argmax(axis=1), pairs) for one in (up, down, futile)
    )
    promoted = (first_up < pairs) & (first_up < first_down) & (first_up <= first_futile)
    after = np.where(promoted, (first_up + 1) * (block + 1), np.inf)
    return [float(one) for one in after], float((first_down < np.minimum(first_up, first_futile)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--ratings", type=int, default=MOST_RATINGS)
    given = parser.parse_args()
    began = time.monotonic()
    found: dict[str, float | int | None] = {}
    mean = float(STARS @ SHARES)
    print(f"ratings: mean {mean:.2f}, standard deviation {float((STARS - mean) ** 2 @ SHARES) ** 0.5:.2f}")
    print(f"{given.experiments} experiments each, looked at after every rating, up to {given.ratings:,} ratings")
    for share in (SHARE, 0.5):
        for gain in (0.0, 0.1, 0.3, 0.5):
            after, rolled_back = crossings(gain, share, given.experiments, given.ratings, seed=1)
            promoted = sum(math.isfinite(one) for one in after) / len(after)
            middle = median(after)
            at = {n: sum(one <= n for one in after) / len(after) for n in (500, 1000, 2000, 5000)}
            power = "  ".join(f"{n}: {part:.2f}" for n, part in at.items())
            print(
                f"share {share:g}, gain {gain:+.1f}: promoted {promoted:.3f}, rolled back {rolled_back:.3f}, "
                f"median ratings {middle:g}; promoted by ratings {power}",
                flush=True,
            )
            place = "" if share == SHARE else f"_share_{share:g}".replace(".", "_")
            if gain == 0.0:
                found[f"false_promotion{place}"] = promoted
            if gain == 0.3:
                found[f"median_ratings_to_detect_0_3{place}"] = int(middle) if math.isfinite(middle) else None
    print(json.dumps(found | {"experiments": given.experiments, "seconds": round(time.monotonic() - began, 1)}))


if __name__ == "__main__":
    main()

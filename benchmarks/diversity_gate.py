"""How fast is the exact diversity index, against rouge_score and against rapidfuzz over the whole pool?

    python benchmarks/diversity_gate.py ROWS.json [--most 100000]

ROWS is any Alpaca-format file of real instructions. Beyond its rows, halves of them are recombined up to 50,000. All
times are CPU seconds of one core. rouge_score and rapidfuzz are timed on a sample of pairs and extrapolated to all
pairs that the plain loop would score; the index is timed whole. rapidfuzz is given its fastest form, many texts at a
time, though a stream must be offered one by one. Then comes the growth up to 1,000,000 rows, beside MinHash. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rapidfuzz import process
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer

from benchmarks.diversity_growth import GROWTH, MEBIBYTE, THRESHOLD, growth_table, load_texts
from tools.gates import DiversityIndex
from tools.gates.rouge import tokens

SIZES = (5_000, 10_000, 20_000, 50_000)
WINDOW = 2_500


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds that ``work`` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def offer_all(texts: list[str]) -> tuple[list[int | None], list[float], DiversityIndex]:
    """Offer every text; return the verdicts, the CPU seconds after each one, and the index."""
    index = DiversityIndex(THRESHOLD)
    verdicts: list[int | None] = []
    clock: list[float] = []
    start = time.process_time()
    for text in texts:
        verdicts.append(index.offer(text))
        clock.append(time.process_time() - start)
    return verdicts, clock, index


def seconds_a_pair_of_rouge(texts: list[str], pairs: int) -> float:
    """Time rouge_score's own LCS on random pairs, tokens made beforehand, as Stanford's script calls it."""
    draw = random.Random(1)
    sample = [(tokens(draw.choice(texts)), tokens(draw.choice(texts))) for _ in range(pairs)]
    return cpu(lambda: [rouge_scorer._score_lcs(new, old) for new, old in sample]) / pairs


def seconds_a_pair_of_rapidfuzz(index: DiversityIndex, texts: list[str], items: int) -> float:
    """Time rapidfuzz's LCS of some texts against every kept one, all at a time on one core."""
    queries = [index._encode(tokens(text)) for text in random.Random(2).sample(texts, items)]
    pool = index._texts
    return cpu(lambda: process.cdist(queries, pool, scorer=LCSseq.similarity, workers=1)) / (items * len(pool))


def count_mismatches(texts: list[str], verdicts: list[int | None], index: DiversityIndex) -> tuple[int, int]:
    """Check verdicts with rouge_score: repeats against what they repeat, kept ones against their nearest before them.

    Returns:
        Mismatches, and pairs checked.
    """
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    draw = random.Random(3)
    kept = [place for place, verdict in enumerate(verdicts) if verdict is None]
    repeats = [place for place, verdict in enumerate(verdicts) if verdict is not None]
    wrong = checked = 0
    for place in draw.sample(repeats, min(2_000, len(repeats))):
        repeated = texts[kept[verdicts[place] or 0]]
        wrong += not scorer.score(texts[place], repeated)["rougeL"].fmeasure > THRESHOLD
        checked += 1
    positions = draw.sample(range(len(kept)), min(300, len(kept)))
    nearest = index.most_similar([texts[kept[position]] for position in positions], k=40)
    for position, found in zip(positions, nearest, strict=True):
        for neighbour in [at for at in found.positions if at < position]:
            wrong += scorer.score(texts[kept[position]], texts[kept[neighbour]])["rougeL"].fmeasure > THRESHOLD
            checked += 1
    return wrong, checked


def measure_memory(path: Path, count: int) -> None:
    """Print the growth of this process's resident memory over building an index, in MiB (run in a fresh process)."""
    texts = load_texts(path, count)
    DiversityIndex(THRESHOLD).offer("warm up the interpreter")
    before = psutil.Process().memory_info().rss
    index = DiversityIndex(THRESHOLD)
    for text in texts:
        index.offer(text)
    print(f"{(psutil.Process().memory_info().rss - before) / MEBIBYTE:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path, help="an Alpaca-format file, JSON or JSONL")
    parser.add_argument("--most", type=int, default=GROWTH[-1], help="leave sizes above out of the growth")
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_only:
        measure_memory(arguments.rows, SIZES[-1])
        return

    texts = load_texts(arguments.rows, SIZES[-1])
    verdicts, clock, index = offer_all(texts)
    total = clock[-1]
    pools = list(accumulate((verdict is None for verdict in verdicts), initial=0))
    pairs = sum(pools[:-1])
    print(f"{len(texts):,} rows offered, {len(index):,} kept; the plain loop scores {pairs:,} pairs")
    print(f"index: {total:.2f} CPU-seconds, {len(texts) / total:,.0f} items a second")

    marginal = {}
    for size in SIZES:
        marginal[size] = (clock[size - 1] - clock[size - 1 - WINDOW]) / WINDOW
        print(f"  at {size:>6,} rows: {clock[size - 1]:.2f} CPU-seconds so far, {marginal[size] * 1e6:.0f} us an item")

    rouge = seconds_a_pair_of_rouge(texts, 20_000)
    print(f"rouge_score: {rouge * 1e6:.1f} us a pair on 20,000 pairs; extrapolated {rouge * pairs:,.0f} CPU-seconds")
    rapidfuzz = seconds_a_pair_of_rapidfuzz(index, texts, 200)
    print(f"rapidfuzz: {rapidfuzz * 1e9:.0f} ns a pair on 200 rows; extrapolated {rapidfuzz * pairs:,.0f} CPU-seconds")

    kept = [text for text, verdict in zip(texts, verdicts, strict=True) if verdict is None]
    fresh = DiversityIndex(THRESHOLD)
    rebuild = cpu(lambda: [fresh.add(text) for text in kept]) * len(texts) / len(kept)
    print(f"rebuild: {rebuild:.2f} CPU-seconds for {len(texts):,} kept rows (scaled from {len(kept):,})")
    command = [sys.executable, __file__, str(arguments.rows), "--memory-only"]
    memory = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"memory: {memory:.1f} MiB for the index, in a fresh process")
    mismatches, checked = count_mismatches(texts, verdicts, index)
    print(f"verdicts: {mismatches} of {checked:,} checked pairs differ from rouge_score")
    growth = growth_table(arguments.rows, arguments.most)
    print(
        json.dumps(
            {
                "ratio_rouge_score": round(rouge * pairs / total),
                "ratio_rapidfuzz": round(rapidfuzz * pairs / total, 1),
                "cpu_seconds_50k": round(total, 2),
                "rss_mb_50k": round(memory, 1),
                "growth_10k_50k": round(marginal[50_000] / marginal[10_000], 2),
                "rebuild_seconds_50k": round(rebuild, 2),
                "mismatches": mismatches,
                **growth,
            }
        )
    )


if __name__ == "__main__":
    main()

"""How do the exact diversity index and MinHash grow with the rows? ``diversity_gate.py`` prints it as a table.

Each case is a process of its own that offers the rows one by one: what repeats a kept row is refused, all else is kept.
MinHash estimates the overlap of two texts' sets of words: a row is refused where that of one of its neighbours is at
least the overlap of two equally long texts whose ROUGE-L is the threshold. It knows no order and is not exact, so its
verdicts are counted beside its time: the repeats that it keeps, and the new rows that it refuses.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.gates import DiversityIndex
from tools.gates.rouge import tokens
from tools.sources.alpaca import AlpacaRow, read_alpaca

GROWTH = (10_000, 50_000, 100_000, 1_000_000)
THRESHOLD = 0.7
JACCARD = THRESHOLD / (2 - THRESHOLD)
"""Overlap of the sets of words of two texts of one length whose F-measure is the threshold."""
PERMUTATIONS, BANDS = 128, 32
MEBIBYTE = 1 << 20
Offer = Callable[[str], bool]


@dataclass(frozen=True)
class Grown:
    """What one case took.

    Attributes:
        seconds: CPU seconds of one core, for all rows.
        memory: growth of the process's resident memory, in MiB.
        kept: which rows were kept.
    """

    seconds: float
    memory: float
    kept: np.ndarray


def load_texts(path: Path, count: int) -> list[str]:
    """Return the file's instructions, and recombined halves of them behind, always the same ones."""
    real = [row.instruction for row in read_alpaca(path) if isinstance(row, AlpacaRow)]
    draw = random.Random(0)
    texts = real[:count]
    while len(texts) < count:
        head, tail = draw.choice(real).split(), draw.choice(real).split()
        texts.append(" ".join(head[: len(head) // 2] + tail[len(tail) // 2 :]))
    return texts


def exact() -> Offer:
    index = DiversityIndex(THRESHOLD)
    return lambda text: index.offer(text) is None


def datasketch() -> Offer:
    from datasketch import MinHash, MinHashLSH

    index, kept = MinHashLSH(JACCARD, PERMUTATIONS), list[MinHash]()

    def offer(text: str) -> bool:
        signature = MinHash(PERMUTATIONS)
        signature.update_batch([word.encode() for word in tokens(text)])
        if any(kept[place].jaccard(signature) >= JACCARD for place in index.query(signature)):
            return False
        index.insert(len(kept), signature)
        kept.append(signature)
        return True

    return offer


def rensa() -> Offer:
    from rensa import RMinHash, RMinHashLSH

    index, kept = RMinHashLSH(JACCARD, PERMUTATIONS, BANDS), list[RMinHash]()

    def offer(text: str) -> bool:
        signature = RMinHash(num_perm=PERMUTATIONS, seed=42)
        signature.update(tokens(text))
        if any(kept[place].jaccard(signature) >= JACCARD for place in index.query(signature)):
            return False
        index.insert(len(kept), signature)
        kept.append(signature)
        return True

    return offer


CASES = {"exact index": exact, "rensa": rensa, "datasketch": datasketch}
MOST_MINHASH = 100_000
"""Rows up to which MinHash is run, for its time and its memory."""


def grow_here(path: Path, case: str, rows: int, verdicts: Path) -> None:
    """Offer so many rows; print CPU seconds and MiB, and save which were kept."""
    texts = load_texts(path, rows)
    offer = CASES[case]()
    offer("warm up the interpreter")
    before, start = psutil.Process().memory_info().rss, time.process_time()
    kept = [offer(text) for text in texts]
    seconds = time.process_time() - start
    np.save(verdicts, np.array(kept))
    print(json.dumps([seconds, (psutil.Process().memory_info().rss - before) / MEBIBYTE]))


def grow(path: Path, case: str, rows: int) -> Grown:
    """Offer so many rows in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        verdicts = Path(folder) / "kept.npy"
        command = [
            sys.executable,
            __file__,
            str(path),
            "--case",
            case,
            "--rows",
            str(rows),
            "--verdicts",
            str(verdicts),
        ]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        seconds, memory = json.loads(said.splitlines()[-1])
        return Grown(seconds, memory, np.load(verdicts))


def growth_table(path: Path, most: int) -> dict[str, float | None]:
    """Print the table up to so many rows; return its figures for the JSON."""
    print(f"growth, CPU-seconds of one core; MinHash with {PERMUTATIONS} permutations at {JACCARD:.2f} of the words")
    print("     rows  case         CPU-s  us a row   MiB  repeats kept  new rows refused", flush=True)
    found: dict[int, dict[str, Grown]] = {}
    for rows in (size for size in GROWTH if size <= most):
        found[rows] = {case: grow(path, case, rows) for case in CASES if case == "exact index" or rows <= MOST_MINHASH}
        truth = found[rows]["exact index"].kept
        for case, one in found[rows].items():
            missed = (one.kept & ~truth).sum() / max(1, (~truth).sum())
            extra = (~one.kept & truth).sum() / max(1, truth.sum())
            each = 1e6 * one.seconds / rows
            print(
                f"{rows:>9,}  {case:11}{one.seconds:>7.1f}{each:>10.0f}{one.memory:>6.0f}{missed:>14.1%}{extra:>18.1%}"
            )
    first, last = 50_000, max(found)
    seconds = {size: cases["exact index"].seconds for size, cases in found.items()}
    exponent = math.log(seconds[last] / seconds[first]) / math.log(last / first) if last > first else None
    million = found.get(GROWTH[-1])
    beside = found[max(size for size in found if size <= MOST_MINHASH)]
    return {
        "cpu_seconds_1m": million and round(million["exact index"].seconds, 1),
        "rss_mb_1m": million and round(million["exact index"].memory, 1),
        "growth_exponent": exponent and round(exponent, 2),
        **{
            f"ratio_{case}": round(beside[case].seconds / beside["exact index"].seconds, 2)
            for case in ("rensa", "datasketch")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="an Alpaca-format file, JSON or JSONL")
    parser.add_argument("--most", type=int, default=GROWTH[-1], help="leave out the sizes above")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--verdicts", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        grow_here(arguments.path, arguments.case, arguments.rows, arguments.verdicts)
    else:
        print(json.dumps(growth_table(arguments.path, arguments.most)))


if __name__ == "__main__":
    main()

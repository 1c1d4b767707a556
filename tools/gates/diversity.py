"""The diversity gate and its index: does a kept text have a ROUGE-L above the threshold with a new one?

The answer equals ``rouge_score``'s for every pair, yet few pairs are ever compared: ``Postings`` find the texts that
could share enough tokens, and drop no true repeat. A handful of texts is left, which rapidfuzz's bit-parallel LCS
decides. Each time the index has grown by a quarter, its words are numbered anew by their counts, the most frequent
first; words that came since count as rarer.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from state.errors import CorralError
from state.records import Sample
from tools.gates.gate import Gate, GateInputs
from tools.gates.postings import Postings
from tools.gates.results import Issue, Severity, Similar
from tools.gates.rouge import least_lcs, tokens, tokens_of_any_script

_UNSEEN = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)
MAX_WORDS = 0x10FFFF - len(_SURROGATES)
"""Different words an index can hold: one code point each, without the surrogates and the one for unseen words."""
_FIRST_ORDER, _GROWTH = 4_096, 1.25
"""Kept texts at which words are brought into order first, and the factor by which they grow until the next time."""
RECORDED = 10
"""Most similar instructions that are kept with a row, as in Stanford's record."""
_CHUNK_CELLS = 8_000_000
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")


@dataclass(frozen=True)
class Neighbours:
    """A text's nearest kept texts, as Stanford's record keeps them."""

    positions: tuple[int, ...]
    """Positions of the kept texts, most similar first; of two equals the earlier one."""
    scores: tuple[float, ...]
    """Their ROUGE-L F-measures in [0, 1]."""
    mean: float
    """Mean F-measure over all kept texts; 0 where there is none."""


class DiversityIndex:
    """Kept texts, and an exact test whether a new one repeats one of them.

    A text without any token (empty, or of punctuation alone) repeats nothing, as in ``rouge_score``. Nothing is
    persisted: an index is rebuilt by adding the kept texts again.

    Args:
        threshold: F-measure in (0, 1] above which a text counts as a repeat.
        tokenise: splits a text; ``rouge_score``'s own way, unless texts are in other scripts.
    """

    def __init__(self, threshold: float = 0.7, tokenise: Callable[[str], list[str]] = tokens) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, not {threshold}")
        self.threshold = threshold
        self._tokenise = tokenise
        self._code_points: dict[str, str] = {}
        self._texts: list[str] = []
        self._postings = Postings(threshold)
        self._lengths = array("I")
        self._order_at = _FIRST_ORDER

    def __len__(self) -> int:
        return len(self._texts)

    def match(self, text: str) -> int | None:
        """Return the position of the first kept text that ``text`` repeats, or ``None`` where it is new."""
        return next(self.matches(text), None)

    def matches(self, text: str) -> Iterator[int]:
        """Yield the positions of all kept texts that ``text`` repeats, in ascending order."""
        return self._matches(self._encode(self._tokenise(text)))

    def add(self, text: str) -> int:
        """Keep a text without comparing it, and return its position.

        Raises:
            CorralError: the index holds ``MAX_WORDS`` different words.
        """
        words = self._tokenise(text)
        return self._keep(words, self._encode(words))

    def offer(self, text: str) -> int | None:
        """Keep a text if it is new.

        Returns:
            ``None`` when it was kept, else the position of the first kept text that it repeats.
        """
        words = self._tokenise(text)
        encoded = self._encode(words)
        repeated = next(self._matches(encoded), None)
        if repeated is None:
            self._keep(words, encoded)
        return repeated

    def most_similar(self, texts: Sequence[str], k: int = 10) -> list[Neighbours]:
        """Score each text against every kept one: exact, and much slower than ``match``.

        Args:
            texts: what to look up; nothing is kept.
            k: neighbours to return for each; fewer where fewer texts are kept.
        """
        chunk = max(1, _CHUNK_CELLS // max(1, len(self._texts)))
        starts = range(0, len(texts), chunk)
        return [found for start in starts for found in self._neighbours(texts[start : start + chunk], k)]

    def _encode(self, words: list[str]) -> str:
        seen = self._code_points.get
        return "".join([seen(word, _UNSEEN) for word in words])

    def _learn(self, words: list[str]) -> None:
        known = self._code_points
        for word in words:
            if word not in known:
                if len(known) == MAX_WORDS:
                    raise CorralError(f"the diversity index is full: it holds {MAX_WORDS:,} words; split the data")
                number = len(known)
                known[word] = chr(number if number < _SURROGATES.start else number + len(_SURROGATES))

    def _keep(self, words: list[str], encoded: str) -> int:
        if _UNSEEN in encoded:
            self._learn(words)
            encoded = self._encode(words)
        position = len(self._texts)
        if encoded:
            self._postings.add(position, encoded)
        self._lengths.append(len(encoded))
        self._texts.append(encoded)
        if len(self._texts) >= self._order_at:
            self._order()
        return position

    def _order(self) -> None:
        """Number the words by their counts, so that a greater code point is a rarer word, and pack the postings."""
        self._order_at = int(len(self._texts) * _GROWTH)
        words = np.frombuffer("".join(self._texts).encode("utf-32-le"), np.uint32)
        counts = np.bincount(words)
        ordered = np.argsort(-counts, kind="stable")[: len(self._code_points)]
        renamed = np.zeros(len(counts), np.uint32)
        numbers = np.arange(len(ordered), dtype=np.uint32)
        renamed[ordered] = np.where(numbers < _SURROGATES.start, numbers, numbers + len(_SURROGATES))
        words = renamed[words]
        self._code_points = {word: chr(renamed[ord(old)]) for word, old in self._code_points.items()}
        lengths = np.frombuffer(self._lengths, np.uint32)
        ends = np.cumsum(lengths, dtype=np.int64).tolist()
        joined = words.tobytes().decode("utf-32-le")
        self._texts = [joined[start:end] for start, end in pairwise([0, *ends])]
        self._postings.pack(words, lengths)

    def _matches(self, encoded: str) -> Iterator[int]:
        candidates = self._candidates(encoded) if encoded else []
        # The texts of now: words may have other code points when the matches are read.
        return self._confirmed(encoded, candidates, self._texts)

    def _confirmed(self, encoded: str, candidates: Sequence[int], texts: Sequence[str]) -> Iterator[int]:
        length = len(encoded)
        for position in candidates:
            kept = texts[position]
            needed = least_lcs(length, len(kept), self.threshold)
            if LCSseq.similarity(encoded, kept, score_cutoff=needed) >= needed:
                yield position

    def _candidates(self, encoded: str) -> list[int]:
        """Return, in ascending order, the kept texts that the filters could not rule out."""
        return sorted(set(self._postings.candidates(encoded)))

    def _neighbours(self, texts: Sequence[str], k: int) -> list[Neighbours]:
        if not self._texts:
            return [Neighbours((), (), 0.0) for _ in texts]
        encoded = [self._encode(self._tokenise(text)) for text in texts]
        shared = process.cdist(encoded, self._texts, scorer=LCSseq.similarity, dtype=np.uint32)
        kept_lengths = np.frombuffer(self._lengths, np.uint32).astype(np.float64)
        return [
            _nearest(_f_measures(row, len(text), kept_lengths), k) for text, row in zip(encoded, shared, strict=True)
        ]


def _f_measures(shared: NDArray[np.uint32], length: int, lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply ``f_measure`` to one row of LCS lengths, with the same order of operations."""
    scores = np.zeros(len(lengths))
    some = shared > 0
    if some.any():
        precision, recall = shared[some] / lengths[some], shared[some] / length
        scores[some] = 2 * precision * recall / (precision + recall)
    return scores


def _nearest(scores: NDArray[np.float64], k: int) -> Neighbours:
    nearest = np.argsort(-scores, kind="stable")[:k]
    return Neighbours(tuple(nearest.tolist()), tuple(scores[nearest].tolist()), float(scores.mean()))


def differ_in_numbers(one: str, other: str) -> bool:
    """Return whether two texts are the same but for their numbers."""
    texts = [" ".join(text.casefold().split()) for text in (one, other)]
    return texts[0] != texts[1] and len({_NUMBER.sub("0", text) for text in texts}) == 1


class DiversityGate(Gate):
    """Refuses instructions that repeat a kept one."""

    name = "diversity"
    codes = ("too_similar",)

    def __init__(self, inputs: GateInputs) -> None:
        super().__init__(inputs)
        settings = inputs.settings
        tokenise = tokens if settings.language == "en" else tokens_of_any_script
        self._index = DiversityIndex(settings.rouge_threshold, tokenise)
        self._kept: list[str] = []

    def issues(self, sample: Sample) -> list[Issue]:
        """Return a critical issue if the instruction repeats a kept one."""
        repeated = self._repeated(sample.instruction)
        if repeated is None:
            return []
        kept = self._kept[repeated]
        shown = kept if len(kept) <= 100 else kept[:100] + "..."
        detail = f"ROUGE-L above {self._index.threshold:g} with {shown!r}"
        return [Issue(code="too_similar", detail=detail, severity=Severity.CRITICAL)]

    def _repeated(self, instruction: str) -> int | None:
        """Return the first kept instruction that this one repeats.

        By the preset ``modern`` another question about the same things is none: one that differs in its numbers alone.
        """
        found = self._index.matches(instruction)
        match self.inputs.settings.preset:
            case "alpaca" | "guide":
                return next(found, None)
            case "modern":
                return next((place for place in found if not differ_in_numbers(self._kept[place], instruction)), None)
            case _:
                assert_never(self.inputs.settings.preset)

    def similar(self, sample: Sample) -> Similar | None:
        """Return the ten nearest kept instructions and the mean, where ``gates.record_similarity`` asks for them."""
        if not self.inputs.settings.record_similarity:
            return None
        (found,) = self._index.most_similar([sample.instruction], RECORDED)
        near = zip(found.positions, found.scores, strict=True)
        return Similar(most={self._kept[place]: score for place, score in near}, mean=found.mean)

    def keep(self, instruction: str) -> None:
        """Add an instruction to the index."""
        self._index.add(instruction)
        self._kept.append(instruction)

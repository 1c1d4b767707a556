"""Alpaca JSON, SFT and DPO JSONL, manifest and card: one folder a version, named by time and content."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from state.pipeline import DatasetRef
from state.records import Outcome, Sample
from tools.dataset.pairing import Pair
from tools.files import new_folder, publish, storage_errors, writable, write_file
from tools.gates.measures import FiguresBuilder
from tools.gates.results import similarity_columns
from tools.people.decisions import decided_in_words

ALPACA, SFT, DPO, LINEAGE = "alpaca.json", "sft.jsonl", "dpo.jsonl", "lineage.jsonl"
FILES = (ALPACA, SFT, DPO, LINEAGE)
"""The data files of a dataset."""
_BLOCK = 1 << 20
"""Bytes read at a time."""
LINEAGE_FIELDS = (
    "sample", "origin", "chosen", "provenance", "chosen_stars", "judged_stars", "judge", "decider", "reviewer",
    "ratings", "rejected", "rejected_stars", "rejected_decider", "rejected_reviewer", "margin",
)  # fmt: skip
"""Of each row of the lineage."""


def alpaca_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return Alpaca's rows: prompts with their chosen completion, else accepted instructions with their own output."""
    return [
        {
            "instruction": writable(p.sample.instruction),
            "input": writable(p.sample.input),
            "output": writable(p.chosen.candidate.text if p.chosen else p.sample.output),
            **_similarity(p.sample),
        }
        for p in pairs
        if p.sample.outcome == Outcome.ACCEPTED and (p.chosen or p.sample.output)
    ]


def _similarity(sample: Sample) -> dict[str, Any]:
    """Return a row's record of similarity, where one was kept."""
    if sample.mean_similarity is None:
        return {}
    most = {writable(text): score for text, score in sample.similar.items()}
    return similarity_columns(most, sample.mean_similarity)


def sft_rows(pairs: Sequence[Pair], seeds: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return TRL's conversational prompt-completion rows: a row for each completion to imitate, then for each seed."""
    imitated = [(p.sample, rated.candidate.text) for p in pairs for rated in p.imitated]
    return [
        {"prompt": _asked(sample), "completion": _turn("assistant", text)}
        for sample, text in [*imitated, *((seed, seed.output) for seed in seeds)]
    ]


def dpo_rows(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return TRL's conversational preference rows, one for each prompt with a chosen and a rejected completion."""
    return [
        {
            "prompt": _asked(p.sample),
            "chosen": _turn("assistant", p.chosen.candidate.text),
            "rejected": _turn("assistant", p.rejected.candidate.text),
        }
        for p in pairs
        if p.chosen and p.rejected
    ]


def lineage_rows(pairs: Sequence[Pair], seeds: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return where each SFT row came from, and who decided that it is good: ids as the record store knows them.

    ``decider`` is ``person``, ``crew`` or ``policy``, and ``reviewer`` the name of the person or policy.
    The first row of a prompt that gave a pair names the rejected completion, too.
    """
    rows = [
        {
            "sample": p.sample.id,
            "origin": p.sample.origin,
            "chosen": rated.candidate.id,
            "provenance": rated.candidate.provenance,
            "chosen_stars": rated.stars,
            "judged_stars": rated.judged_stars,
            "judge": rated.judge or None,
            "decider": rated.decider,
            "reviewer": rated.reviewer or None,
            "ratings": rated.ratings or None,
            "rejected": against.candidate.id if against else None,
            "rejected_stars": against.stars if against else None,
            "rejected_decider": against.decider if against else None,
            "rejected_reviewer": (against.reviewer or None) if against else None,
            "margin": p.margin if against else None,
        }
        for p in pairs
        for rank, rated in enumerate(p.imitated)
        for against in [None if rank else p.rejected]
    ]
    written = {"provenance": "written", "decider": "person"}
    return rows + [dict.fromkeys(LINEAGE_FIELDS) | {"sample": s.id, "origin": s.origin} | written for s in seeds]


class DatasetWriter:
    """Writes a version of the dataset page by page, so that its size does not matter. See ``dataset_writer``."""

    def __init__(self, folder: Path, part: Path, run_id: str) -> None:
        self._folder, self._part, self._run_id = folder, part, run_id
        self._files = {name: _RowFile(part / name, array=name == ALPACA) for name in FILES}
        self._offered = self._with_chosen = self._with_pair = 0
        self._provenance: Counter[str] = Counter()
        self._deciders: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._figures = FiguresBuilder()

    @property
    def imitates(self) -> bool:
        """Whether any completion was good enough to be imitated."""
        return self._with_chosen > 0

    def add(self, pairs: Sequence[Pair]) -> None:
        """Write the rows of further prompts: accepted training samples in the order of their ids, with their pairs.

        Raises:
            StorageError: the disk is full or read-only.
        """
        self._offered += len(pairs)
        for pair in pairs:
            self._figures.add(pair.sample)
        self._with_chosen += sum(p.chosen is not None for p in pairs)
        self._with_pair += sum(p.rejected is not None for p in pairs)
        self._provenance.update(r.candidate.provenance for p in pairs for r in p.imitated)
        self._deciders.update(decided_in_words(r.decider, r.reviewer) for p in pairs for r in p.imitated)
        self._kinds.update(r.decider for p in pairs for r in p.imitated)
        self._write({ALPACA: alpaca_rows(pairs), DPO: dpo_rows(pairs)})
        self._write({SFT: sft_rows(pairs, []), LINEAGE: lineage_rows(pairs, [])})

    def finish(self, seeds: Sequence[Sample]) -> DatasetRef:
        """Write the last rows and put the version in its place; the same rows as before are not kept twice.

        Args:
            seeds: seed tasks that SFT imitates, too.

        Returns:
            The version, with its counts.

        Raises:
            StorageError: the disk is full or read-only.
        """
        self._write({SFT: sft_rows([], seeds), LINEAGE: lineage_rows([], seeds)})
        if seeds:
            self._provenance["written"] = len(seeds)
            self._deciders["by a person"] += len(seeds)
            self._kinds["written"] += len(seeds)
        with storage_errors(self._part):
            for file in self._files.values():
                file.finish()
            version, entries = self._hashes()
        place = next(self._folder.glob(f"*-{version}"), None)
        if place is None:
            now = datetime.now(UTC)
            place = self._folder / f"{now:%Y%m%dT%H%M%SZ}-{version}"
            manifest = self._manifest(version, now, entries)
            write_file(
                self._part / "manifest.json", (json.dumps(manifest, ensure_ascii=True, indent=1) + "\n").encode()
            )
            write_file(self._part / "README.md", _card(manifest).encode())
            publish(self._part, place)
        rows = {name: file.rows for name, file in self._files.items()}
        return DatasetRef(
            version=version, folder=str(place), sft_rows=rows[SFT], dpo_rows=rows[DPO], alpaca_rows=rows[ALPACA]
        )

    def close(self) -> None:
        """Close the files, finished or not."""
        for file in self._files.values():
            file.close()

    def _write(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        with storage_errors(self._part):
            for name, some in rows.items():
                for row in some:
                    self._files[name].add(row)

    def _hashes(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return the version, a hash over all names and bytes, and the manifest's entry of each file."""
        whole, entries = hashlib.sha256(), {}
        for name in sorted(FILES):
            whole.update(name.encode() + b"\0")
            own = hashlib.sha256()
            with (self._part / name).open("rb") as file:
                while block := file.read(_BLOCK):
                    whole.update(block)
                    own.update(block)
                entries[name] = {"sha256": own.hexdigest(), "rows": self._files[name].rows, "bytes": file.tell()}
        return whole.hexdigest()[:12], entries

    def _manifest(self, version: str, made: datetime, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return {
            "version": version,
            "run": self._run_id,
            "made": made.isoformat(timespec="seconds"),
            "files": entries,
            "prompts": {
                "offered": self._offered,
                "with a chosen completion": self._with_chosen,
                "with a pair": self._with_pair,
            },
            "provenance of SFT rows": dict(self._provenance),
            "deciders of SFT rows": dict(self._deciders),
            "shares of SFT rows": _shares(self._kinds),
            "diversity": self._figures.result().model_dump(mode="json", include=set(DIVERSITY)),
        }


@contextmanager
def dataset_writer(folder: Path, run_id: str) -> Iterator[DatasetWriter]:
    """Yield a writer of a version of the dataset; one that is not finished leaves nothing behind.

    Args:
        folder: the run's folder of datasets.
        run_id: named in the manifest.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with new_folder(folder) as part:
        writer = DatasetWriter(folder, part, run_id)
        try:
            yield writer
        finally:
            writer.close()


class _RowFile:
    """A file of JSON objects, one a line or in one array, that is synced when it is finished."""

    def __init__(self, path: Path, *, array: bool) -> None:
        self.rows = 0
        self._array = array
        # ASCII escapes: some readers split lines at U+2028, too.
        self._file = path.open("w", encoding="ascii", newline="\n")

    def add(self, row: Mapping[str, Any]) -> None:
        text = json.dumps(row, ensure_ascii=True, indent=1 if self._array else None)
        if self._array:
            text = (",\n " if self.rows else "[\n ") + text.replace("\n", "\n ")
        self._file.write(text if self._array else text + "\n")
        self.rows += 1

    def finish(self) -> None:
        with self._file:
            if self._array:
                self._file.write("\n]\n" if self.rows else "[]\n")
            self._file.flush()
            os.fchmod(self._file.fileno(), 0o644)
            os.fsync(self._file.fileno())

    def close(self) -> None:
        with suppress(OSError):  # what is not written any more is not missed
            self._file.close()


def _asked(sample: Sample) -> list[dict[str, str]]:
    """Return the user's turn; its input is also a field of its own, as in Alpaca's format."""
    (turn,) = _turn("user", sample.prompt)
    # Always there: a loader takes the columns from the first rows.
    return [turn | {"input": writable(sample.input)}]


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": writable(content)}]


SHARES = {"human": "decided by people", "synthetic": "decided by judges, checks or policies", "written": "seed tasks"}
"""What the card says of each share."""


def _shares(kinds: Counter[str]) -> dict[str, float]:
    """Return which part of the rows people decided on, which machines alone, and which are seed tasks; together 1."""
    counts = {"human": kinds["person"], "written": kinds["written"]}
    counts["synthetic"] = kinds.total() - sum(counts.values())
    return {name: round(counts[name] / kinds.total(), 4) for name in SHARES} if kinds else {}


DIVERSITY = {
    "rows": "prompts measured",
    "distinct_1": "different words over all words",
    "distinct_2": "different pairs of words over all pairs",
    "balance": "balance of the categories, of 1",
    "mean_similarity": "mean ROUGE-L over all pairs",
    "max_similarity": "highest ROUGE-L of a pair",
    "verbs": "different verbs",
}
"""The figures of diversity that manifest and card have, and what the card calls them."""


def _card(manifest: Mapping[str, Any]) -> str:
    table = "\n".join(
        f"| `{name}` | {entry['rows']} | `{entry['sha256'][:16]}` |" for name, entry in manifest["files"].items()
    )
    prompts = "\n".join(f"- prompts {what}: {count}" for what, count in manifest["prompts"].items())
    deciders = "\n".join(
        f"- SFT rows accepted {who}: {count}" for who, count in sorted(manifest["deciders of SFT rows"].items())
    )
    shares = "\n".join(
        f"- {name} ({SHARES[name]}): {share:.1%} of the SFT rows"
        for name, share in manifest["shares of SFT rows"].items()
    )
    diversity = "\n".join(f"- {DIVERSITY[name]}: {value:.4g}" for name, value in manifest["diversity"].items())
    head = CARD.format(version=manifest["version"], run=manifest["run"], made=manifest["made"], table=table)
    return "\n".join(part for part in (head + prompts, shares, deciders, diversity) if part) + "\n"


CARD = """---
configs:
- config_name: sft
  data_files: sft.jsonl
  default: true
- config_name: dpo
  data_files: dpo.jsonl
- config_name: alpaca
  data_files: alpaca.json
---
# Dataset {version}

Made by Corral's run `{run}` at {made}. A completion is chosen if it has four or five stars, was accepted, passes every
check of its prompt, ended by itself and does not repeat itself; it is rejected with one or two stars. The stars are the
judges', except where a person reviewed the completion: approving gives at least four, rejecting at most two, and a
person's own text has five; the stars that a person gave take the place of the judges', and of two answers that a
person compared the better one was approved. A policy of an unattended run may accept what waits for a person, but
changes no stars. Rows of provenance `written` are seed tasks with the outputs that people gave them. `lineage.jsonl`
names the records behind each SFT row, in the same order, and who decided.

| file | rows | sha256 |
| --- | --- | --- |
{table}

"""

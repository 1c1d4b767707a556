"""Alpaca JSON, SFT and DPO JSONL, manifest and card: one folder a version, named by time and content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from state.pipeline import DatasetRef
from state.records import Outcome, Sample
from tools.dataset.pairing import Pair
from tools.files import writable, write_folder

ALPACA, SFT, DPO, LINEAGE = "alpaca.json", "sft.jsonl", "dpo.jsonl", "lineage.jsonl"


def alpaca_rows(samples: Sequence[Sample], pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return Alpaca's rows: prompts with their chosen completion, else accepted instructions with their own output."""
    chosen = {p.sample.id: p.chosen.candidate.text for p in pairs if p.chosen}
    return [
        {
            "instruction": writable(s.instruction),
            "input": writable(s.input),
            "output": writable(chosen.get(s.id, s.output)),
        }
        for s in sorted(samples, key=lambda s: s.id)
        if s.outcome == Outcome.ACCEPTED and (s.id in chosen or s.output)
    ]


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
    """Return where each SFT row came from: the ids that ``corral show`` and the record store know.

    The first row of a prompt that gave a pair names the rejected completion, too.
    """
    rows = [
        {
            "sample": p.sample.id,
            "origin": p.sample.origin,
            "chosen": rated.candidate.id,
            "provenance": rated.candidate.provenance,
            "chosen_stars": rated.stars,
            "rejected": against.candidate.id if against else None,
            "rejected_stars": against.stars if against else None,
            "margin": p.margin if against else None,
        }
        for p in pairs
        for rank, rated in enumerate(p.imitated)
        for against in [None if rank else p.rejected]
    ]
    seeded = dict.fromkeys(("chosen", "chosen_stars", "rejected", "rejected_stars", "margin"))
    return rows + [{"sample": s.id, "origin": s.origin, "provenance": "written"} | seeded for s in seeds]


def dataset_files(samples: Sequence[Sample], pairs: Sequence[Pair], seeds: Sequence[Sample]) -> dict[str, bytes]:
    """Return the data files by name. The same rows give the same bytes."""
    return {
        ALPACA: _json(alpaca_rows(samples, pairs)),
        SFT: _jsonl(sft_rows(pairs, seeds)),
        DPO: _jsonl(dpo_rows(pairs)),
        LINEAGE: _jsonl(lineage_rows(pairs, seeds)),
    }


def write_dataset(
    folder: Path, samples: Sequence[Sample], pairs: Sequence[Pair], seeds: Sequence[Sample], run_id: str
) -> DatasetRef:
    """Write a version of the dataset; the same rows as before are not written again.

    Args:
        folder: the run's folder of datasets.
        samples: accepted training samples.
        pairs: their chosen and rejected completions.
        seeds: seed tasks that SFT imitates, too.
        run_id: named in the manifest.

    Returns:
        The version, with its counts.

    Raises:
        StorageError: the disk is full or read-only.
    """
    files = dataset_files(samples, pairs, seeds)
    version = hashlib.sha256(b"".join(name.encode() + b"\0" + files[name] for name in sorted(files))).hexdigest()[:12]
    place = next(folder.glob(f"*-{version}"), None)
    if place is None:
        now = datetime.now(UTC)
        place = folder / f"{now:%Y%m%dT%H%M%SZ}-{version}"
        manifest = _manifest(version, run_id, now, files, pairs, len(seeds))
        extra = {"manifest.json": _json(manifest), "README.md": _card(manifest).encode()}
        write_folder(place, files | extra)
    return DatasetRef(
        version=version,
        folder=str(place),
        sft_rows=len(sft_rows(pairs, seeds)),
        dpo_rows=len(dpo_rows(pairs)),
        alpaca_rows=len(alpaca_rows(samples, pairs)),
    )


def _asked(sample: Sample) -> list[dict[str, str]]:
    """Return the user's turn; its input is also a field of its own, as in Alpaca's format."""
    (turn,) = _turn("user", sample.prompt)
    return [turn | {"input": writable(sample.input)} if sample.input else turn]


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": writable(content)}]


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=True, indent=1) + "\n").encode()


def _jsonl(rows: Sequence[Mapping[str, Any]]) -> bytes:
    # ASCII escapes: some readers split lines at U+2028, too.
    return "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows).encode()


def _manifest(
    version: str, run_id: str, made: datetime, files: Mapping[str, bytes], pairs: Sequence[Pair], seeds: int
) -> dict[str, Any]:
    with_chosen = [p for p in pairs if p.chosen]
    return {
        "version": version,
        "run": run_id,
        "made": made.isoformat(timespec="seconds"),
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "rows": _rows(name, data), "bytes": len(data)}
            for name, data in sorted(files.items())
        },
        "prompts": {
            "offered": len(pairs),
            "with a chosen completion": len(with_chosen),
            "with a pair": sum(p.rejected is not None for p in with_chosen),
        },
        "provenance of SFT rows": dict(Counter(r.candidate.provenance for p in pairs for r in p.imitated))
        | ({"written": seeds} if seeds else {}),
    }


def _rows(name: str, data: bytes) -> int:
    return len(json.loads(data)) if name == ALPACA else data.count(b"\n")


def _card(manifest: Mapping[str, Any]) -> str:
    table = "\n".join(
        f"| `{name}` | {entry['rows']} | `{entry['sha256'][:16]}` |" for name, entry in manifest["files"].items()
    )
    prompts = "\n".join(f"- prompts {what}: {count}" for what, count in manifest["prompts"].items())
    return CARD.format(version=manifest["version"], run=manifest["run"], made=manifest["made"], table=table) + prompts


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

Made by Corral's run `{run}` at {made}. A completion is chosen if it has four or five stars, was accepted by the
judges or a person, passes every check of its prompt, ended by itself and does not repeat itself; it is rejected with
one or two stars. Rows of provenance `written` are seed tasks with the outputs that people gave them. `lineage.jsonl`
names the records behind each SFT row, in the same order.

| file | rows | sha256 |
| --- | --- | --- |
{table}

"""

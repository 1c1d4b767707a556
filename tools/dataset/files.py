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
from tools.people.decisions import decided_in_words

ALPACA, SFT, DPO, LINEAGE = "alpaca.json", "sft.jsonl", "dpo.jsonl", "lineage.jsonl"
LINEAGE_FIELDS = (
    "sample", "origin", "chosen", "provenance", "chosen_stars", "judged_stars", "judge", "decider", "reviewer",
    "rejected", "rejected_stars", "rejected_decider", "rejected_reviewer", "margin",
)  # fmt: skip
"""Of each row of the lineage."""


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
        "deciders of SFT rows": dict(
            Counter(decided_in_words(r.decider, r.reviewer) for p in pairs for r in p.imitated)
        )
        | ({"by a person": seeds} if seeds else {}),
    }


def _rows(name: str, data: bytes) -> int:
    return len(json.loads(data)) if name == ALPACA else data.count(b"\n")


def _card(manifest: Mapping[str, Any]) -> str:
    table = "\n".join(
        f"| `{name}` | {entry['rows']} | `{entry['sha256'][:16]}` |" for name, entry in manifest["files"].items()
    )
    prompts = "\n".join(f"- prompts {what}: {count}" for what, count in manifest["prompts"].items())
    deciders = "\n".join(
        f"- SFT rows accepted {who}: {count}" for who, count in sorted(manifest["deciders of SFT rows"].items())
    )
    head = CARD.format(version=manifest["version"], run=manifest["run"], made=manifest["made"], table=table)
    return "\n".join(part for part in (head + prompts, deciders) if part) + "\n"


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
person's own text has five. A policy of an unattended run may accept what waits for a person, but changes no stars. Rows
of provenance `written` are seed tasks with the outputs that people gave them. `lineage.jsonl` names the records behind
each SFT row, in the same order, and who decided.

| file | rows | sha256 |
| --- | --- | --- |
{table}

"""

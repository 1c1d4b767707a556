"""An adapter that stands alone: with it lie the tokenizer, the base or its name, the licence, and how it was measured.

It needs nothing of the machine that trained it. A base that was a folder is in ``base``, where the file system can as
hard links, which take no room; one that was named by the hub is named so.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.pipeline import PipelineState
from state.request import EMBEDDED
from tools.dataset.files import LINEAGE
from tools.evaluation.scoreboard import Scoreboard
from tools.files import storage_errors, write_file
from tools.registry.card import CardFacts, Form, facts_of, hub_name, licence_files, licence_of, model_card
from tools.weights.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from tools.weights.embedded import licence_text
from tools.weights.gguf_files import write_gguf_adapter
from tools.weights.template import load_tokenizer
from tools.weights.trust import code_options

BASE = "base"
"""The folder of the base in a version."""
GGUF = "adapter.gguf"
SCOREBOARD = "scoreboard.json"
SUMMARY = "summary.json"
"""What happened in the training."""


def write_adapter_of(state: PipelineState, title: str, base: Path, out: Path) -> str | None:
    """Write the adapter of a run's state as a folder that stands alone; see ``write_standalone``."""
    verdict, dataset = state.get("verdict"), state["dataset"]
    return write_standalone(
        Path(state["adapter"].folder),
        base,
        out,
        facts_of(state, title, base),
        scoreboard=Path(verdict.scoreboard) if verdict else None,
        lineage=Path(dataset.folder) / LINEAGE,
    )


def write_merged(state: PipelineState, title: str, base: Path, out: Path) -> None:
    """Write a run's adapter merged into its base, as a model of its own; it takes the base's memory twice.

    Args:
        state: the run's.
        title: of the model card.
        base: the folder of the adapter's base.
        out: an empty folder.

    Raises:
        StorageError: the disk is full or read-only.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM

    code = code_options(base)
    kept = AutoConfig.from_pretrained(base, **code).dtype
    # Merged in float32 and rounded once, as it was measured.
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **code)
    merged = PeftModel.from_pretrained(model, state["adapter"].folder).merge_and_unload()
    with storage_errors(out):
        merged.to(kept or torch.float32).save_pretrained(out)
        load_tokenizer(base).save_pretrained(out)
        facts, verdict = facts_of(state, title, base), state.get("verdict")
        _write_licence(out, facts.base, base)
        if verdict:
            shutil.copyfile(verdict.scoreboard, out / SCOREBOARD)
        board = _board(out)
        write_file(out / "README.md", model_card(facts, board, form="merged").encode())


def write_standalone(
    adapter: Path, base: Path, out: Path, facts: CardFacts, *, scoreboard: Path | None, lineage: Path | None
) -> str | None:
    """Write an adapter's folder that stands alone.

    Args:
        adapter: the folder that the training wrote.
        base: the folder of its base.
        out: an empty folder.
        facts: what its card says.
        scoreboard: the JSON file of its scoreboard, which is copied; ``None`` where it was not measured.
        lineage: the file that says where each training row came from.

    Returns:
        Why there is no GGUF file of it; ``None`` where there is one.

    Raises:
        BadInput: the folder is no adapter's.
        StorageError: the disk is full or read-only.
    """
    with storage_errors(out):
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        named = hub_name(facts.base)
        write_file(out / ADAPTER_CONFIG, _json(config | {"base_model_name_or_path": named or BASE}))
        shutil.copyfile(adapter / ADAPTER_WEIGHTS, out / ADAPTER_WEIGHTS)
        if named is None:
            link_folder(base, out / BASE)
        copies = {SUMMARY: adapter / SUMMARY, SCOREBOARD: scoreboard, LINEAGE: lineage}
        for name, source in copies.items():
            if source is not None and source.is_file():
                shutil.copyfile(source, out / name)
        # With the template that it was trained by, whether that is the base's own or Alpaca's.
        load_tokenizer(base).save_pretrained(out)
        _write_licence(out, facts.base, base)
    return _complete(out, base, facts)


def _complete(out: Path, base: Path, facts: CardFacts) -> str | None:
    """Write the GGUF file where it can be, then the card, which says whether it could; return why not."""
    reason = None
    try:
        write_gguf_adapter(out, base, out / GGUF)
    except BadInput as error:
        reason = str(error)
    form: Form = "peft" if reason else "peft and gguf"
    write_file(out / "README.md", model_card(facts, _board(out), form=form).encode())
    return reason


def _board(out: Path) -> Scoreboard | None:
    kept = out / SCOREBOARD
    return Scoreboard.model_validate_json(kept.read_bytes()) if kept.is_file() else None


def link_folder(source: Path, target: Path) -> None:
    """Make a folder of the same files, as hard links where the file system can, else as copies."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.is_file():
            # A hub's cache holds links to its blobs; what is linked is the blob.
            try:
                os.link(path.resolve(), target / path.name)
            except OSError:
                shutil.copyfile(path, target / path.name)


def _write_licence(out: Path, base: str, folder: Path) -> None:
    files = list(licence_files(folder))
    for path in files:
        shutil.copyfile(path, out / path.name)
    if not files:
        stated = f"The licence of the base, {licence_of(base, folder)}, holds; its text did not come with the base.\n"
        write_file(out / "LICENSE", (licence_text() if base == EMBEDDED else stated).encode())


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()

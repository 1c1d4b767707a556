"""A registry of two tiny adapters on a tiny base, as the serving tests share it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from state.pipeline import AdapterRef
from state.request import RunRequest
from tests.tiny_model import tiny_model
from tools.registry import add, point
from tools.registry.card import card_facts
from tools.registry.version import write_standalone
from tools.settings import Settings


class ServedRegistry(NamedTuple):
    """A home with a registry; ``first`` is current."""

    home: Path
    base: Path
    first: str
    second: str

    @property
    def registry(self) -> Path:
        return self.home / "registry"

    def copied(self, folder: Path) -> ServedRegistry:
        """Return the same in another home, to be changed."""
        shutil.copytree(self.home, folder / "home", symlinks=True)
        return self._replace(home=folder / "home")

    def settings(self, **more: object) -> Settings:
        given = {"home": self.home, "cache": self.home / "cache", "serve_parallel": 2, "serve_context": 256}
        return Settings.model_validate(given | more)


def make_registry(folder: Path, head: int = 16) -> ServedRegistry:
    base = tiny_model(folder / "trained" / "base", head)
    versions = [add_adapter(folder, base, seed) for seed in (1, 2)]
    point(folder / "home" / "registry", versions[0])
    return ServedRegistry(folder / "home", base, *versions)


def add_adapter(folder: Path, base: Path, seed: int) -> str:
    adapter = tiny_adapter(folder / "trained" / f"adapter-{seed}", base, seed)
    ref = AdapterRef(id=f"{seed:08x}" + "0" * 24, folder=str(adapter))
    request = RunRequest.model_validate({"models": {"base": str(base)}})

    def fill(part: Path, version: str) -> dict[str, object]:
        facts = card_facts(version, "trial", request, base, ref.id)
        assert write_standalone(adapter, base, part, facts, scoreboard=None, lineage=None) is None
        return {}

    return add(ref, folder / "home" / "registry", {"run": "trial"}, fill)


def tiny_adapter(folder: Path, base: Path, seed: int) -> Path:
    """Save an adapter with random weights, which answers otherwise than its base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder

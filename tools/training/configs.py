"""The files that ``accelerate launch`` reads: Corral's own, by name, or the user's."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from state.errors import BadInput
from state.extras import install_command
from tools.machine.resources import gpu_count

FOLDER = Path(__file__).with_name("accelerate")
DEFAULT = "gpu"
"""Passed where the request names none: without a file accelerate would read the user's own default configuration."""
SHARDED = ("FSDP", "DEEPSPEED")
"""The values of ``distributed_type`` with which the processes share one copy of the weights."""


def shipped() -> dict[str, Path]:
    """Return the configs that come with Corral, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def config_file(name: str | None) -> Path:
    """Return the file that a request's ``train.accelerate_config`` means.

    Raises:
        BadInput: there is no such file, it cannot be read, or this machine lacks what it needs.
    """
    path = shipped().get(name or DEFAULT) or Path(str(name)).expanduser()
    if not path.is_file():
        raise BadInput(f"train.accelerate_config: {name} is not there; give a file, or one of {', '.join(shipped())}")
    if fault := saving_fault(_read(path)):
        raise BadInput(f"train.accelerate_config: {name} would train and then save no adapter: {fault}")
    kind = kind_of(path)
    if kind in SHARDED and not gpu_count():
        raise BadInput(f"train.accelerate_config: {name} shards over GPUs, and this machine has none")
    if kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise BadInput(f"train.accelerate_config: {name} needs the package deepspeed ({install_command('deepspeed')})")
    return path


def saving_fault(config: Mapping[str, Any]) -> str:
    """Return what in a config of sharded weights keeps the trained adapter from being gathered; empty if nothing does.

    FSDP of version 1 looks for the frozen weights, too, which PEFT leaves out; shards are no adapter that anyone loads.
    """
    match config.get("distributed_type"):
        case "FSDP":
            found = _section(config, "fsdp_config")
            if str(found.get("fsdp_version", 1)) != "2":
                return "set fsdp_config.fsdp_version to 2"
            if found.get("fsdp_state_dict_type", "FULL_STATE_DICT") != "FULL_STATE_DICT":
                return "set fsdp_config.fsdp_state_dict_type to FULL_STATE_DICT"
        case "DEEPSPEED":
            found = _section(config, "deepspeed_config")
            if found.get("zero_stage") == 3 and not found.get("zero3_save_16bit_model"):
                return "set deepspeed_config.zero3_save_16bit_model to true"
        case _:
            pass
    return ""


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def kind_of(path: Path) -> str:
    """Return a config's ``distributed_type``, such as ``NO`` or ``FSDP``."""
    return str(_read(path)["distributed_type"])


def offloads(path: Path) -> bool:
    """Return whether a config keeps weights and optimiser in main memory, and moves one layer at a time to the GPU."""
    return bool(_read(path).get("deepspeed_config", {}).get("offload_param_device") == "cpu")


def uses_cpu(path: Path) -> bool:
    """Return whether a config uses the CPU even where there is a GPU."""
    return bool(_read(path).get("use_cpu"))


def processes(path: Path) -> int:
    """Return how many processes a config starts on this machine: what it says, or one for each GPU."""
    config = _read(path)
    stated = config.get("num_processes")
    return max(1, int(stated) // int(config.get("num_machines") or 1)) if stated else max(1, gpu_count())


def launch_options(path: Path, cores: int) -> list[str]:
    """Return the options of ``accelerate launch`` for a config.

    Args:
        path: the config.
        cores: of this machine; the processes share them.
    """
    count = processes(path)
    options = ["--config_file", str(path.resolve()), "--num_cpu_threads_per_process", str(max(1, cores // count))]
    return options if "num_processes" in _read(path) else [*options, "--num_processes", str(count)]


def _read(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(f"train.accelerate_config: {path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict) or "distributed_type" not in config:
        raise BadInput(f"train.accelerate_config: {path} is no config of accelerate: it states no distributed_type")
    return config

"""Any PEFT adapter on disk: which base it belongs to, whether it fits, and its hash."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.records import content_hash
from state.request import EMBEDDED
from tools.files import file_hash
from tools.weights.embedded import embedded_model
from tools.weights.folders import base_folder, folder_fingerprint
from tools.weights.trust import code_options

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
Shapes = dict[str, tuple[int, ...]]


def find_base(adapter: Path, named: str | None, cache: Path) -> Path:
    """Return the folder of an adapter's base model.

    Args:
        adapter: a PEFT adapter's folder.
        named: the base as a person names it (``embedded``, a folder, or a name on the hub); without it, the one in the
            adapter's own configuration: a name on the hub, or a folder, which is looked for in the adapter's own
            first. An adapter that was just trained on the embedded model names the folder into which that was
            unpacked, in any cache; the embedded model of this installation is used if it is the same.
        cache: where the unpacked embedded model is kept.

    Raises:
        BadInput: the folder is no adapter, or its base cannot be found.
    """
    weights_file(adapter)
    name = named or _configuration(adapter).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{adapter / ADAPTER_CONFIG} does not name the adapter's base; name it with --base")
    if named is None and (adapter / name / "config.json").is_file():
        return base_folder(str(adapter / name), cache)
    if named is None and (embedded := _embedded(name, cache)) is not None:
        return embedded
    try:
        return base_folder(name, cache)
    except BadInput as error:
        whose = "--base" if named else f"the base in {adapter / ADAPTER_CONFIG}"
        hint = "" if named else "; name it with --base"
        raise BadInput(f"{whose}: {str(error).removeprefix('models.base: ')}{hint}") from error


def weights_file(adapter: Path) -> Path:
    """Return the adapter's weights.

    Raises:
        BadInput: there are none, or only pickled ones, which would run code when they are read.
    """
    if (found := adapter / ADAPTER_WEIGHTS).is_file():
        return found
    if (adapter / "adapter_model.bin").is_file():
        raise BadInput(
            f"{adapter} holds pickled weights, which are not read; save it again with PEFT, as {ADAPTER_WEIGHTS}"
        )
    raise BadInput(f"{adapter} is no PEFT adapter: it needs {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}")


def check_fit(adapter: Path, base: Path) -> None:
    """Refuse an adapter whose weights are not those that its configuration asks of this base, by name and shape.

    PEFT itself would skip weights that it cannot place, and use the rest. No weights are loaded.

    Raises:
        BadInput: it does not fit; one line that names a weight.
    """
    try:
        wanted, held = _wanted(adapter, base), _held(weights_file(adapter))
    except Exception as error:  # PEFT, transformers and safetensors raise any exception on files of another format
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise BadInput(f"the adapter {adapter} cannot be put on the base {base}: {reason}") from error
    wrong = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
    if wrong:
        name = wrong[0]
        raise BadInput(
            f"the adapter {adapter} does not fit the base {base}: {len(wrong)} weights differ, such as {name} "
            f"({held.get(name, 'missing')} in the adapter, {wanted.get(name, 'none')} by the base); "
            "name another base with --base"
        )


def adapter_identity(adapter: Path, base: Path) -> str:
    """Return a hash of an adapter's content and its base."""
    own = [file_hash(weights_file(adapter)), file_hash(adapter / ADAPTER_CONFIG)]
    return content_hash("adapter", *own, folder_fingerprint(base))


def _configuration(adapter: Path) -> dict[str, Any]:
    try:
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{adapter} is no PEFT adapter: its {ADAPTER_CONFIG} cannot be read") from error
    if not isinstance(config, dict):
        raise BadInput(f"{adapter} is no PEFT adapter: its {ADAPTER_CONFIG} is no JSON object")
    return config


def _embedded(name: str, cache: Path) -> Path | None:
    """Return the unpacked embedded model if ``name`` is a folder of the same name, in whatever place."""
    try:
        stem = embedded_model().stem.lower()
    except BadInput:
        return None
    if not Path(name).name.startswith(f"{stem}-"):
        return None
    folder = base_folder(EMBEDDED, cache)
    return folder if folder.name == Path(name).name else None


def _wanted(adapter: Path, base: Path) -> Shapes:
    """Return the weights that PEFT makes for this configuration on this base, from a model without memory."""
    import torch
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM

    config = PeftConfig.from_pretrained(str(adapter))
    if config.is_prompt_learning:
        raise ValueError(
            "it is a learned prompt; what can be merged into the base's weights is evaluated, such as LoRA"
        )
    if hasattr(config, "init_lora_weights"):
        # Some initialisations, such as PiSSA, read the base's weights.
        config.init_lora_weights = True
    with warnings.catch_warnings(action="ignore"), torch.device("meta"):
        code = code_options(base)
        own = AutoConfig.from_pretrained(str(base), **code)
        model = get_peft_model(AutoModelForCausalLM.from_config(own, **code), config)
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _held(file: Path) -> Shapes:
    from safetensors import safe_open

    with safe_open(str(file), framework="np") as stored:
        return {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}

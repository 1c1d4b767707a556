"""What was found by trying a model is kept: for the same weights, code, libraries and machine, and for no others."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.causal_families import tiny
from tests.served_registry import tiny_adapter
from tests.tiny_model import tiny_model
from tools.weights import arithmetic, decodable, invariance, trials
from tools.weights.decoding import Prompt, decode
from tools.weights.invariance import SIZES
from tools.weights.loading import load_model
from tools.weights.trials import ONE_BY_ONE, Kept, batch_sizes, trial_key
from tools.weights.worker import Model

CUDA = torch.device("cuda")
CPU = "model name\t: A\ncpu MHz\t\t: 2445.4\nflags\t\t: avx2 fma\nbogomips\t: 4890.84\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def loaded(base: Path) -> Any:
    return load_model(base, None, "float32")


@pytest.fixture
def model(loaded: Any) -> Any:
    """Return a model that nobody has tried."""
    return deepcopy(loaded)


class Counter:
    """How often a model is tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes = self.batches = 0
        for module, name, tried in ((trials, "invariant_sizes", "sizes"), (decodable, "_off", "batches")):
            monkeypatch.setattr(module, name, self._counted(getattr(module, name), tried))

    def _counted(self, trial: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            setattr(self, name, getattr(self, name) + 1)
            return trial(*given)

        return counted

    @property
    def both(self) -> tuple[int, int]:
        return self.sizes, self.batches


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


def test_who_loads_it_next_does_not_try_again(model: Any, base: Path, tries: Counter, tmp_path: Path) -> None:
    again = deepcopy(model)
    first = batch_sizes(model, base, None, tmp_path)
    assert tries.both == (1, 1)
    assert batch_sizes(again, base, None, tmp_path) == first == invariance.invariant_sizes(model)
    assert [len(one.tokens) for one in decode(again, [Prompt((5, 6))], frozenset(), max_tokens=3, sizes=first)] == [3]
    assert tries.both == (1, 1)


def test_a_model_process_keeps_it_where_the_settings_say(
    base: Path, tries: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_CACHE", str(tmp_path))
    sizes = [Model(base, None, "float32")._sizes for _ in range(2)]
    assert sizes[0] == sizes[1] and tries.both == (1, 1)
    assert [path.suffix for path in (tmp_path / "trials").iterdir()] == [".json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:-9],
        lambda good: b"\x80\x04K\x01.",
        lambda good: b"[" * 100_000,
        lambda good: Kept(key="another", sizes=SIZES).model_dump_json().encode(),
        lambda good: good.replace(b'"sizes":[4', b'"sizes":[3'),
        lambda good: good.replace(b"8,16", b"16,8"),
        lambda good: good.replace(b",96", b""),
        lambda good: b'{"sizes":[8]}',
    ],
)
def test_a_damaged_or_foreign_file_is_written_again(
    damage: Callable[[bytes], bytes], model: Any, base: Path, tries: Counter, tmp_path: Path
) -> None:
    sizes = batch_sizes(model, base, None, tmp_path)
    (file,) = (tmp_path / "trials").iterdir()
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert file.read_bytes() != good
    assert batch_sizes(deepcopy(model), base, None, tmp_path) == sizes
    assert file.read_bytes() == good and tries.both == (2, 2)


@pytest.mark.parametrize("hindrance", ["file", "folder"])
def test_where_it_cannot_be_kept_each_process_tries(
    hindrance: str, model: Any, base: Path, tries: Counter, tmp_path: Path
) -> None:
    if hindrance == "file":
        (tmp_path / "trials").write_text("")
    else:
        (tmp_path / "trials" / f"{trial_key(model, base, None)}.json" / "x").mkdir(parents=True)
    for _ in range(2):
        assert batch_sizes(deepcopy(model), base, None, tmp_path)[-1] == SIZES[-1]
    assert tries.both == (2, 2)


def test_what_is_not_decoded_in_batches_is_not_kept(base: Path, tries: Counter, tmp_path: Path) -> None:
    assert batch_sizes(tiny("mamba"), base, None, tmp_path) == ONE_BY_ONE
    assert tries.sizes == 0 and not list(tmp_path.iterdir())


def test_two_processes_at_once_both_find_it(loaded: Any, base: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    begin, found = context.Barrier(2), context.Queue()

    def load() -> None:
        for turn in range(5):
            begin.wait(30)
            found.put(batch_sizes(deepcopy(loaded), base, None, tmp_path / str(turn)))

    processes = [context.Process(target=load) for _ in range(2)]
    for process in processes:
        process.start()
    sizes = {found.get(timeout=60) for _ in range(10)}
    for process in processes:
        process.join()
    assert sizes == {batch_sizes(loaded, base, None, tmp_path / "0")}
    assert [len(list((tmp_path / str(turn) / "trials").iterdir())) for turn in range(5)] == [1] * 5


def _write(name: str, text: str) -> Callable[[pytest.MonkeyPatch, Path], None]:
    def change(_: pytest.MonkeyPatch, folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return change


def _set(target: str, value: Any) -> Callable[[pytest.MonkeyPatch, Path], None]:
    return lambda monkeypatch, _: monkeypatch.setattr(target, value)


def _environ(name: str, value: str) -> Callable[[pytest.MonkeyPatch, Path], None]:
    return lambda monkeypatch, _: monkeypatch.setenv(name, value)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a machine's facts, in which the packages' folders and our code are looked for, too."""
    folder = tmp_path / "machine"
    facts = {"cpuinfo": CPU, "cache/index0/size": "32K\n", "driver": "580.1\n", "code/trials.py": "1"}
    for name, text in facts.items():
        _write(name, text)(monkeypatch, folder)
    for name, place in {"CPU_FACTS": "cpuinfo", "CPU_CACHES": "cache", "DRIVER": "driver"}.items():
        monkeypatch.setattr(arithmetic, name, folder / place)
    monkeypatch.setattr(trials, "__file__", str(folder / "code" / "trials.py"))
    monkeypatch.syspath_prepend(str(folder))
    return folder


OTHERS: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "torch's version": _set("torch.__version__", "9.9"),
    "torch's build": _set("torch.__config__.show", lambda: "another library for products"),
    "CPU capability": _environ("ATEN_CPU_CAPABILITY", "default"),
    "threads": _set("torch.get_num_threads", lambda: 3),
    "precision of products": _set("torch.get_float32_matmul_precision", lambda: "medium"),
    "library's setting": _environ("MKL_CBWR", "COMPATIBLE"),
    "system": _set("platform.platform", lambda: "Linux-9"),
    "CPU's kind": _write("cpuinfo", CPU.replace(": A", ": B")),
    "CPU's instructions": _write("cpuinfo", CPU.replace("fma", "fma avx512_bf16")),
    "CPU's caches": _write("cache/index0/size", "48K\n"),
    "package": _write("torch-3.dist-info/METADATA", ""),
    "our code": _write("code/trials.py", "2"),
    "our code, more of it": _write("code/more.py", ""),
    "sizes that are tried": _set("tools.weights.invariance.SIZES", (8, 16)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_machine_or_library_is_tried(
    what: str, model: Any, base: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trial_key(model, base, None)
    assert before and trial_key(model, base, None) == before
    OTHERS[what](monkeypatch, machine)
    assert trial_key(model, base, None) not in (before, None)


def test_a_moment_later_it_is_the_same_machine(model: Any, base: Path, machine: Path, tmp_path: Path) -> None:
    before = trial_key(model, base, None)
    (machine / "cpuinfo").write_text(CPU.replace("2445.4", "3100.0").replace("4890.84", "4890.80") + CPU)
    copy = shutil.copytree(base, tmp_path / "copy")
    assert trial_key(model, copy, None) == before


def test_other_weights_and_another_format_are_tried(model: Any, base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "other")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    adapters = [tiny_adapter(tmp_path / str(seed), base, seed) for seed in range(2)]
    keys = [trial_key(model, folder, None) for folder in (base, other)]
    keys += [trial_key(model, base, adapter) for adapter in adapters]
    keys.append(trial_key(model.bfloat16(), base, None))
    assert None not in keys and len(set(keys)) == 5


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, machine: Path) -> SimpleNamespace:
    found = SimpleNamespace(name="H100", major=9, minor=0, multi_processor_count=132, total_memory=8, L2_cache_size=5)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: found)
    return found


@pytest.mark.parametrize("part", ["name", "multi_processor_count", "total_memory", "driver", "cuda"])
def test_another_gpu_driver_or_cuda_is_tried(
    part: str, gpu: SimpleNamespace, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = arithmetic.arithmetic(CUDA)
    assert before is not None and before != arithmetic.arithmetic(torch.device("cpu"))
    if part == "driver":
        (machine / "driver").write_text("590.2\n")
    elif part == "cuda":
        monkeypatch.setattr("torch.version.cuda", "99.0")
    else:
        setattr(gpu, part, "other")
    assert arithmetic.arithmetic(CUDA) not in (before, None)


@pytest.mark.parametrize("missing", ["cpuinfo", "driver"])
def test_what_the_system_does_not_tell_is_not_taken_for_known(
    missing: str, gpu: SimpleNamespace, machine: Path, model: Any, base: Path, tmp_path: Path
) -> None:
    (machine / missing).unlink()
    assert arithmetic.arithmetic(CUDA) is None
    if missing == "cpuinfo":
        assert batch_sizes(model, base, None, tmp_path / "cache")[-1] == SIZES[-1]
        assert not (tmp_path / "cache").exists()


def test_a_model_with_code_of_its_own_is_tried_by_each_process(
    model: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shutil.copytree(base, tmp_path / "own")
    config = (own / "config.json").read_text()
    (own / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoModelForCausalLM": "own.Own"},', 1))
    monkeypatch.setenv("CORRAL_TRUSTED_MODELS", str(own))
    assert trial_key(model, own, None) is None

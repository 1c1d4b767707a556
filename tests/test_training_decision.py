"""The training decision: one of four words, and what each follows from. Its checklists, configs and QLoRA."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput, StorageError
from state.extras import install_command
from state.pipeline import TrainingDecision
from state.request import Endpoint, Models, RunRequest, Training
from tools.checklists.items import Checklists, item
from tools.config import load_request
from tools.endpoint import weights_here
from tools.machine.resources import Gpu, Resources, container_memory, measure
from tools.people.questions import answer_schema
from tools.training import configs, quantise
from tools.training.checklists import after_items, during_items, policy_item, rows_items
from tools.training.decision import Survey, decide_training
from tools.training.estimate import BaseFacts, Machine, PhaseWork, disk_bytes, fixed_bytes, pass_bytes, seconds_needed
from tools.training.lock import training_elsewhere, training_lock
from tools.training.recipe import PHASES

ROOT = Path(__file__).parent.parent
WORDS = ("proceed", "optimise", "wait", "abort")
SMALL = BaseFacts(parameters=134_515_008, adapted_widths=305_280, layers=30, width=576, heads=9, vocabulary=49_152)
LARGE = BaseFacts(
    parameters=6_738_000_000, adapted_widths=1_800_000, layers=32, width=4096, heads=32, vocabulary=32_000
)
GB = 10**9


def survey(
    lengths: tuple[int, ...] = (100,) * 300,
    free: float = 16,
    total: float = 16,
    gpu: tuple[float, float] | None = None,
    base: BaseFacts = SMALL,
    phases: tuple[str, ...] = ("sft",),
    disk: float = 50,
    pace: float = 460e9,
    **changes: Any,
) -> Survey:
    """Return a survey; sizes in GB, a GPU as (free, total)."""
    work = tuple(
        PhaseWork(
            phase=name,
            lengths=tuple(sorted(lengths)),
            tokens=sum(lengths) * PHASES[name].sequences,
            sequences=PHASES[name].sequences,
            reference_passes=PHASES[name].reference_passes,
        )
        for name in phases
    )
    gpus = (Gpu(name="H", free=int(gpu[0] * GB), total=int(gpu[1] * GB)),) if gpu else ()
    resources = Resources(
        cores=2, memory_total=int(total * GB), memory_free=int(free * GB), disk_free=int(disk * GB), gpus=gpus
    )
    return Survey(
        work=work,
        base=base,
        machine=Machine(on_cpu=gpu is None, pace=pace),
        resources=resources.model_copy(update=changes),
    )


SURVEYS = st.builds(
    survey,
    lengths=st.lists(st.integers(1, 900), max_size=30).map(tuple),
    free=st.floats(0, 20),
    total=st.floats(0, 20),
    gpu=st.none() | st.tuples(st.floats(0, 80), st.floats(0, 80)).map(lambda pair: (min(pair), max(pair))),
    base=st.sampled_from([SMALL, LARGE]),
    phases=st.sampled_from([("sft",), ("dpo",), ("sft", "dpo")]),
    disk=st.floats(0, 10),
    pace=st.floats(1e9, 1e15),
    training_elsewhere=st.booleans(),
)
SETTINGS = st.builds(
    Training,
    batch_size=st.sampled_from([1, 6, 8, 128]),
    epochs=st.floats(0.1, 5),
    max_length=st.sampled_from([64, 512]),
    max_hours=st.none() | st.floats(0.001, 10),
)


@given(SURVEYS, SETTINGS)
def test_the_decision_is_one_of_four_and_keeps_the_limits(found: Survey, settings: Training) -> None:
    decision = decide_training(found, settings)
    assert decision.action in WORDS and decision.reason and "\n" not in decision.reason
    limit = settings.max_hours
    over = limit is not None and decision.estimated_seconds > limit * 3600
    empty = any(not [n for n in phase.lengths if n <= settings.max_length] for phase in found.work)
    full = found.resources.disk_free < disk_bytes(found.base, settings)
    if over or empty or full:
        assert decision.action == "abort", "abort stands above everything else"
    room = min((gpu.free for gpu in found.resources.gpus), default=found.resources.memory_free)
    if decision.action in ("proceed", "optimise"):
        assert decision.memory_needed <= room and not found.resources.training_elsewhere
        for phase in found.work:
            rows = decision.rows_at_once[phase.phase]
            assert rows >= 1 and settings.batch_size % rows == 0
            kept = [n for n in phase.lengths if n <= decision.max_length]
            assert 2 * len(kept) >= len([n for n in phase.lengths if n <= settings.max_length])


@given(SURVEYS, SETTINGS, st.floats(0, 60))
def test_more_free_memory_never_makes_it_worse(found: Survey, settings: Training, more: float) -> None:
    def freed(of: Survey, extra: int) -> Survey:
        resources = of.resources
        gpus = tuple(g.model_copy(update={"free": min(g.total, g.free + extra)}) for g in resources.gpus)
        free = max(resources.memory_free, min(resources.memory_total, resources.memory_free + extra))
        return of.model_copy(update={"resources": resources.model_copy(update={"gpus": gpus, "memory_free": free})})

    before, after = decide_training(found, settings), decide_training(freed(found, int(more * GB)), settings)
    assert WORDS.index(after.action) <= WORDS.index(before.action)


@given(SURVEYS, SETTINGS, st.floats(0, 20))
def test_free_memory_changes_no_figure_of_a_training(found: Survey, settings: Training, free: float) -> None:
    """It may make it compute activations again, or wait; both leave every number as it is."""
    resources = found.resources.model_copy(
        update={
            "memory_free": int(free * GB),
            "gpus": tuple(
                gpu.model_copy(update={"free": min(gpu.total, int(free * GB))}) for gpu in found.resources.gpus
            ),
        }
    )
    one, other = (decide_training(of, settings) for of in (found, found.model_copy(update={"resources": resources})))
    if "abort" not in (one.action, other.action):
        assert (one.rows_at_once, one.max_length) == (other.rows_at_once, other.max_length)


@pytest.mark.parametrize(
    ("found", "settings", "action", "said"),
    [
        (survey(), {}, "proceed", "are needed and free"),
        (survey(free=2.3, total=2.3), {}, "optimise", "rows at once"),
        (survey(free=2.6), {}, "optimise", "computed again"),
        (survey(lengths=(500,) * 9, free=2.6, total=2.6), {}, "optimise", "computed again"),
        (survey(lengths=(60,) * 9 + (500,), free=2.3, total=2.3), {}, "optimise", "1 row longer than 60 tokens"),
        (survey(lengths=(60,) * 9 + (500,), free=2.3, total=16), {}, "wait", "other programs use the rest"),
        (survey(free=1), {}, "wait", "other programs use the rest"),
        (survey(training_elsewhere=True), {}, "wait", "another run is training"),
        (survey(free=1, total=1), {}, "abort", "smaller models.base"),
        (survey(lengths=()), {}, "abort", "there are no sft rows"),
        (survey(lengths=(600,)), {}, "abort", "longer than train.max_length"),
        (survey(disk=0.05), {}, "abort", "make room"),
        (survey(), {"max_hours": 0.01}, "abort", "train.max_hours"),
        (survey(base=LARGE, gpu=(79, 80)), {"batch_size": 64}, "proceed", "are needed and free"),
        (survey(base=LARGE, gpu=(22, 24), lengths=(512,) * 9), {"batch_size": 128}, "optimise", "rows at once"),
        (survey(base=LARGE, gpu=(3, 80)), {}, "wait", "other programs use the rest"),
        (survey(base=LARGE, gpu=(11, 12)), {}, "abort", "train.quantise 4bit"),
        (survey(base=LARGE, gpu=(11, 11)), {"quantise": "4bit"}, "optimise", "rows at once"),
    ],
)  # fmt: skip
def test_each_word_has_its_reason(found: Survey, settings: dict[str, Any], action: str, said: str) -> None:
    decision = decide_training(found, Training.model_validate(settings))
    assert (decision.action, said in decision.reason) == (action, True), decision


def test_the_large_preset_accumulates_alpacas_batch() -> None:
    settings = load_request(ROOT / "seeds" / "large.yaml").train
    assert (settings.epochs, settings.batch_size, settings.max_length) == (3, 128, 512)
    decision = decide_training(survey(base=LARGE, gpu=(79, 80), lengths=(512,) * 400, pace=6e14), settings)
    assert 1 <= decision.rows_at_once["sft"] < 128 and 128 % decision.rows_at_once["sft"] == 0
    assert not decision.gradient_checkpointing


@pytest.mark.parametrize(
    ("rows", "tokens", "pace", "took"),
    [(393, 54_735, 502e9, 501), (393, 54_410, 698e9, 588), (405, 56_653, 514e9, 688), (330, 38_280, 460e9, 273)],
)
def test_the_estimate_is_near_what_was_measured(rows: int, tokens: int, pace: float, took: float) -> None:
    """The proof's three runs on two threads, and one on a core of its own; two epochs each."""
    work = [PhaseWork(phase="sft", lengths=(tokens // rows,) * rows, tokens=tokens, sequences=1)]
    machine = Machine(on_cpu=True, pace=pace)
    found = seconds_needed(work, SMALL, Training(epochs=2), machine, (2,), False)
    assert took / 1.7 < found < took * 1.7
    again = seconds_needed(work, SMALL, Training(epochs=2), machine, (2,), True)
    assert 1.2 < again / found < 1.5


def decision(action: str, **changes: Any) -> TrainingDecision:
    return TrainingDecision.model_validate({"action": action, "reason": "memory is short"} | changes)


@pytest.mark.parametrize(
    ("action", "answer", "settled", "rows"),
    [
        ("optimise", "approve", True, 2),
        ("optimise", "reject", True, 0),
        ("wait", "approve", False, 2),
        ("wait", "reject", True, 2),
    ],
)
def test_a_person_settles_it(action: str, answer: str, settled: bool, rows: int) -> None:
    from graph.training import after_answer, after_decision
    from nodes.train import apply_answer, training_action

    asked = decision(action, rows_at_once={"sft": 2}, max_length=64, gradient_checkpointing=True)
    shown = training_action(asked)
    assert shown.name == f"{action}_training" and "memory is short" in shown.description
    given = answer_schema([shown]).model_validate({"decisions": [{"type": answer}], "reviewer": "ada"})
    found = apply_answer(given, asked, RunRequest())
    assert (found.settled_by == "ada", found.rows_at_once.get("sft", 0)) == (settled, rows)
    assert found.max_length == (64 if rows else 512) and found.gradient_checkpointing == bool(rows)
    assert after_decision({"training_decision": asked}) == "open"
    assert after_answer({"training_decision": found}) == ("settled" if settled else "again")


def test_an_unattended_run_takes_what_is_suggested() -> None:
    from nodes.train import POLICY, settled

    unattended = RunRequest(unattended=True)
    assert settled(decision("optimise"), unattended).settled_by == POLICY
    assert not settled(decision("optimise"), RunRequest()).settled_by
    assert not settled(decision("wait"), unattended).settled_by


def test_the_rows_are_looked_at_before() -> None:
    def row(prompt: str, good: str, bad: str) -> dict[str, Any]:
        return {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": good}],
            "rejected": [{"role": "assistant", "content": bad}],
        }

    rows = [row("Say it  twice.", "a", "b"), row("Name a colour.", "red", "red")]
    found = {i.name: i for i in rows_items(PHASES["dpo"], rows, ["name a COLOUR."], fitting=1, max_length=64)}
    assert found["dpo rows are there and readable"].outcome == "passed"
    assert found["dpo rows fit train.max_length"].outcome == "failed"
    assert "'name a colour.'" in found["no dpo prompt is held out"].evidence
    assert found["chosen differs from rejected"].evidence == "1 of 2 pairs are the same text"
    fine = rows_items(PHASES["sft"], rows[:1], ["Name a colour."], fitting=1, max_length=64)
    assert [i.outcome for i in fine] == ["passed"] * 3
    assert Checklists(before=tuple(found.values())).warnings("training")[0].startswith("training: dpo rows fit")


@pytest.mark.parametrize(
    ("models", "outcome"),
    [
        (Models(), "passed"),
        (Models(base="/models/other"), "passed"),
        (Models(base="/models/other", policy=Endpoint()), "failed"),
        (Models(policy=Endpoint(base_url="weights", model="embedded"), base="/models/other"), "failed"),
        (Models(policy=Endpoint(base_url="http://127.0.0.1:1", model="a/b"), base="/models/b"), "passed"),
        (Models(policy=Endpoint(base_url="http://127.0.0.1:1", model="mine"), base="/models/b"), "not applicable"),
    ],
)
def test_the_base_should_be_the_policy(models: Models, outcome: str) -> None:
    served = weights_here(models.policy) or models.policy.model
    assert policy_item(served, models.base).outcome == outcome


def test_what_was_seen_during_and_after() -> None:
    falling = {"phase": "sft", "steps": 6, "planned_steps": 6, "probe_distinct3": [0.9, 0.8]}
    falling |= {"losses": [3.0, 2.5, 2.0, 1.5, 1.0, 0.5], "gradient_norms": [1.0] * 6}
    broken = {"phase": "dpo", "steps": 3, "planned_steps": 9, "probe_distinct3": [0.9, 0.6]}
    broken |= {"losses": [1.0, float("nan"), 2.0], "gradient_norms": [0.0] * 3}
    during = {i.name: i.outcome for i in during_items({"phases": [falling, broken]}, 5 * GB)}
    assert during["sft losses are finite"] == during["disk did not fill up"] == "passed"
    assert during["dpo losses are finite"] == during["dpo gradients are finite and above 0"] == "failed"
    assert during["sft made all its steps"] == during["sft answers do not repeat themselves"] == "passed"
    assert during["dpo made all its steps"] == during["dpo answers do not repeat themselves"] == "failed"
    unprobed = {i.name: i.outcome for i in during_items({"phases": [falling | {"probe_distinct3": []}]}, None)}
    assert unprobed["sft answers do not repeat themselves"] == unprobed["disk did not fill up"] == "not applicable"
    after = after_items({"phases": [falling, broken]}, [item("the adapter loads onto its base", True, "x")])
    assert [i.outcome for i in after] == ["passed", "passed", "failed"]
    assert after_items({"phases": [falling | {"losses": [1.0]}]}, [])[0].outcome == "not applicable"


def test_what_this_machine_has(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert 0 < found.memory_free <= found.memory_total and found.cores >= 1 and found.disk_free > 0
    assert container_memory(tmp_path) is None
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 1\ninactive_file 200\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert container_memory(tmp_path) == (1000, 500)
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path) is None


async def test_one_training_sees_another(tmp_path: Path) -> None:
    assert not training_elsewhere(tmp_path)
    with pytest.raises(StorageError, match="cannot be used"):
        training_elsewhere(Path("/proc/none"))
    async with training_lock(tmp_path):
        assert training_elsewhere(tmp_path)
        async with training_lock(tmp_path):
            pass
        assert training_elsewhere(tmp_path), "one that came later, and went first"
    assert not training_elsewhere(tmp_path)


async def test_two_that_look_at_once_see_no_training(tmp_path: Path) -> None:
    looks = await asyncio.gather(*(asyncio.to_thread(training_elsewhere, tmp_path) for _ in range(4)))
    assert not any(looks)
    async with training_lock(tmp_path), training_lock(tmp_path):
        assert await asyncio.to_thread(training_elsewhere, tmp_path)


def test_offloaded_weights_take_no_room_on_the_gpu() -> None:
    gpu = Machine(on_cpu=False, pace=1e14, sharded=True)
    away = gpu.model_copy(update={"offloaded": configs.offloads(configs.shipped()["zero3"])})
    assert not configs.offloads(configs.shipped()["fsdp"])
    assert fixed_bytes(LARGE, Training(), gpu) > 13 * GB
    assert fixed_bytes(LARGE, Training(), away) < 3 * GB


@pytest.fixture
def with_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the machine seem to have so many GPUs, and the packages that only run on one."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(configs, "gpu_count", lambda: count)
        monkeypatch.setattr(quantise, "gpu_count", lambda: count)

    return pretend


def test_the_shipped_configs_load_by_accelerates_own_loader(with_gpus: Callable[[int], None]) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    with_gpus(4)
    assert set(configs.shipped()) == {"gpu", "cpu", "cpus", "fsdp", "zero3"}
    kinds, counts = {}, {}
    for name, path in configs.shipped().items():
        load_config_from_file(str(path))
        options = configs.launch_options(path, cores=8)
        arguments, loaded, _ = _validate_launch_command(launch_command_parser().parse_args([*options, "-m", "worker"]))
        kinds[name] = str(loaded.distributed_type.value)
        counts[name] = (arguments.num_processes, arguments.num_cpu_threads_per_process, arguments.use_cpu)
        if name == "fsdp":
            assert arguments.use_fsdp and arguments.fsdp_sharding_strategy == "FULL_SHARD"
            assert arguments.fsdp_auto_wrap_policy == "TRANSFORMER_BASED_WRAP"
        if name == "zero3":
            assert arguments.use_deepspeed and arguments.zero_stage == 3
            assert arguments.offload_optimizer_device == arguments.offload_param_device == "cpu"
    assert kinds == {"gpu": "NO", "cpu": "NO", "cpus": "MULTI_GPU", "fsdp": "FSDP", "zero3": "DEEPSPEED"}
    assert counts == {
        "gpu": (1, 8, False), "cpu": (1, 8, True), "cpus": (2, 4, True), "fsdp": (4, 2, False), "zero3": (4, 2, False)
    }  # fmt: skip


def test_deepspeeds_settings_are_a_zero_3_with_offload(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as accelerate makes them without the package: what it would hand to DeepSpeed."""
    import yaml
    from accelerate.utils import DeepSpeedPlugin

    given = yaml.safe_load(configs.shipped()["zero3"].read_text())["deepspeed_config"]
    made = DeepSpeedPlugin(**given).deepspeed_config
    assert made["zero_optimization"]["stage"] == 3
    assert made["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert made["zero_optimization"]["offload_param"]["device"] == "cpu"
    assert made["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True


def test_a_config_that_cannot_be_used_is_refused(tmp_path: Path, with_gpus: Callable[[int], None]) -> None:
    with_gpus(0)
    (tmp_path / "other.yaml").write_text("a: 1\n")
    for name, said in {
        "fsdp": "has none",
        "none.yaml": "gpu, zero3",
        str(tmp_path / "other.yaml"): "no config",
    }.items():
        with pytest.raises(BadInput, match=said):
            configs.config_file(name)
    with_gpus(2)
    with pytest.raises(BadInput, match=re.escape(install_command("deepspeed"))):
        configs.config_file("zero3")


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        ("fsdp", {"fsdp_config": {"fsdp_version": 1}}, "set fsdp_config.fsdp_version to 2"),
        ("fsdp", {"fsdp_config": None}, "set fsdp_config.fsdp_version to 2"),
        (
            "fsdp",
            {"fsdp_config": {"fsdp_version": 2, "fsdp_state_dict_type": "SHARDED_STATE_DICT"}},
            "set fsdp_config.fsdp_state_dict_type to FULL_STATE_DICT",
        ),
        ("zero3", {"deepspeed_config": {"zero_stage": 3}}, "set deepspeed_config.zero3_save_16bit_model to true"),
    ],
)
def test_a_config_that_would_train_and_save_nothing_is_refused(
    tmp_path: Path, kind: str, changed: dict[str, Any], said: str
) -> None:
    import yaml

    shipped = yaml.safe_load(configs.shipped()[kind].read_text())
    assert configs.saving_fault(shipped) == ""
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(shipped | changed))
    with pytest.raises(BadInput, match=f"own.yaml would train and then save no adapter: {said}"):
        configs.config_file(str(own))


def test_four_bits_are_refused_where_they_cannot_be_had(with_gpus: Callable[[int], None]) -> None:
    shipped = configs.shipped()
    with_gpus(0)
    assert quantise.quantisation("none") == {}
    quantise.demand_quantisation("none", shipped["cpu"])
    with pytest.raises(BadInput, match="needs an NVIDIA GPU"):
        quantise.demand_quantisation("4bit", shipped["gpu"])
    with_gpus(1)
    with pytest.raises(BadInput, match="pip install bitsandbytes"):
        quantise.demand_quantisation("4bit", shipped["gpu"])
    for name in ("cpu", "cpus", "fsdp", "zero3"):
        with pytest.raises(BadInput, match="a whole GPU for each process"):
            quantise.demand_quantisation("4bit", shipped[name])


def test_qlora_is_nf4_with_double_quantisation_in_bfloat16(
    with_gpus: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package and the GPU are pretended; the config object is transformers' own."""
    import importlib.metadata
    import importlib.util

    with_gpus(1)
    find, version = importlib.util.find_spec, importlib.metadata.version
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: True if name == "bitsandbytes" else find(name, *a)
    )
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.46.1" if name == "bitsandbytes" else version(name)
    )
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    options = quantise.quantisation("4bit")
    config = options["quantization_config"]
    assert config.load_in_4bit and config.bnb_4bit_quant_type == "nf4" and config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert options["device_map"] == {"": 0}


MEASURED = {
    "135M": BaseFacts(parameters=134_515_008, adapted_widths=305_280, layers=30, width=576, heads=9, vocabulary=49_152),
    "1.3B": BaseFacts(
        parameters=1_275_136_000, adapted_widths=753_664, layers=16, width=2048, heads=32, vocabulary=49_152
    ),
    "6.9B": BaseFacts(
        parameters=6_878_924_800, adapted_widths=2_498_560, layers=32, width=4096, heads=32, vocabulary=49_152
    ),
}


@pytest.mark.parametrize(
    ("model", "tokens", "checkpointing", "changes", "allocated"),
    [
        ("135M", 2296, False, {}, 2.56),
        ("135M", 9184, False, {}, 8.67),
        ("135M", 9184, True, {}, 1.04),
        ("1.3B", 8592, False, {}, 20.74),
        ("1.3B", 8592, False, {"lora_dropout": 0.05}, 23.72),
        ("1.3B", 8592, True, {}, 5.32),
        ("1.3B", 8592, False, {"quantise": "4bit"}, 16.67),
        ("6.9B", 2144, False, {}, 29.02),
        ("6.9B", 6444, False, {}, 57.36),
        ("6.9B", 6444, False, {"lora_dropout": 0.05}, 64.79),
        ("6.9B", 8592, True, {}, 19.56),
        ("6.9B", 4296, False, {"quantise": "4bit"}, 28.68),
        ("6.9B", 17184, True, {"quantise": "4bit", "lora_dropout": 0.05}, 14.48),
    ],
)
def test_the_memory_measured_on_a_gpu_is_covered_by_the_estimate(
    model: str, tokens: int, checkpointing: bool, changes: dict[str, Any], allocated: float
) -> None:
    """Gigabytes that torch had allocated at most, on an H200 with LoRA of rank 16 (docs/hardware.md)."""
    base, machine, asked = MEASURED[model], Machine(on_cpu=False, pace=1e14), Training(lora_rank=16, **changes)
    taken = allocated + 0.9  # what CUDA itself takes
    held = fixed_bytes(base, asked, machine)
    held += pass_bytes(base, machine, tokens, 537, checkpointing, dropout=asked.lora_dropout > 0)
    assert taken <= held / GB <= 1.4 * taken + 0.6


def test_a_training_that_shards_its_weights_takes_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where one process holds all shards: what is gathered in inference mode could not be trained."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    from tools.training import probe

    taken: list[Any] = []
    monkeypatch.setattr(probe, "mean_distinct", lambda *found: taken.append(found) or 1.0)
    model = SimpleNamespace(device=torch.device("cpu"), eval=lambda: None, train=lambda: None)
    for kind, probes in ((DistributedType.NO, 1), (DistributedType.FSDP, 0), (DistributedType.DEEPSPEED, 0)):
        taken.clear()
        monkeypatch.setattr(AcceleratorState, "__new__", lambda *_, kind=kind: SimpleNamespace(distributed_type=kind))
        state = SimpleNamespace(global_step=0, log_history=[])
        probe.Probe(None, [[1]]).on_train_begin(SimpleNamespace(world_size=1, bf16=False), state, None, model=model)
        assert len(taken) == len(state.log_history) == probes

"""The evaluate node with a tiny model: cut off and called again it asks for what is missing, and for nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nodes.compare import make_compare
from nodes.evaluate import make_evaluate
from state.calls import CallStore
from state.database import Database
from state.errors import StorageError
from state.pipeline import AdapterRef, Improvement, PipelineState
from state.records import Answer, Check, Outcome, Sample
from state.request import Endpoint, RunRequest
from state.store import RecordStore
from tests.builders import ifeval_file
from tests.judging_support import FunctionEndpoint
from tests.tiny_model import tiny_model
from tools.checklists.items import MACHINE
from tools.endpoint import open_endpoint
from tools.endpoint.chat import ChatCall, ChatEndpoint
from tools.endpoint.weights import WeightsTransport
from tools.evaluation.scoreboard import Scoreboard
from tools.settings import load_settings

SAMPLES = [
    Sample(
        id=f"s{number}",
        instruction=f"Say {number} words of the sea.",
        origin="prompt",
        split="heldout",
        checks=(Check(kind="max_words", value=4),),
        outcome=Outcome.ACCEPTED,
    )
    for number in range(3)
]


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    await store.add("run", SAMPLES)
    yield store
    await database.close()


def _adapter(base: Path, folder: Path) -> AdapterRef:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return AdapterRef(id="adapter1", folder=str(folder))


@pytest.mark.usefixtures("in_this_process")
async def test_a_cut_evaluation_goes_on_without_answering_again(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await asyncio.to_thread(tiny_model, tmp_path / "base")
    adapter = await asyncio.to_thread(_adapter, base, tmp_path / "adapter")
    request = RunRequest.model_validate(
        {
            "models": {"base": str(base)},
            "evaluate": {
                "max_tokens": 8,
                "resamples": 100,
                "sampled_draws": 2,
                "judged_pairs": 2,
                "ifeval": str(ifeval_file(tmp_path / "input_data.jsonl", 3)),
                "ifeval_prompts": 2,
            },
        }
    )
    warnings = ["mind the judge", f"{MACHINE}training took 600 s and was estimated at 200 s"]
    state: PipelineState = {"run_id": "run", "request": request, "adapter": adapter, "warnings": warnings}

    def prefer(call: ChatCall) -> dict[str, Any]:
        return {"better": "first", "reason": "it came first"}

    judge, calls, asked = FunctionEndpoint(prefer), CallStore(store.database), []

    async def opened(spec: Endpoint, run_id: str) -> ChatEndpoint:
        asked.append(spec)
        return judge if spec == request.models.judge else await open_endpoint(spec, calls, run_id, load_settings())

    kept: list[str] = []
    add = RecordStore.add

    async def add_three(self: RecordStore, run_id: str, records: Any) -> None:
        if len(kept) == 3:
            raise StorageError("the disk is full")
        kept.extend(record.id for record in records)
        await add(self, run_id, records)

    evaluate = make_evaluate(store, calls, tmp_path / "runs", opened)
    monkeypatch.setattr(RecordStore, "add", add_three)
    with pytest.raises(StorageError, match="full"):
        await evaluate(state)
    monkeypatch.undo()
    before = {found.id: found for found in await store.find("run", Answer)}
    assert sorted(before) == sorted(kept) and len(kept) == 3
    monkeypatch.setattr("tools.evaluation.measuring.PUBLIC_TOKENS", 8)

    verdict = (await evaluate(state))["verdict"]
    everything = {(s.id, draw) for s in SAMPLES for draw in range(3)}
    after = await store.find("run", Answer)
    assert len(after) == 2 * len(everything) and all(found in after for found in before.values())
    board = Scoreboard.model_validate_json(Path(verdict.scoreboard).read_text())
    assert board.prompts == verdict.prompts == 3 and board.notes == ("mind the judge",)
    assert (board.base.sampled, board.adapter.sampled, board.sampled_draws) == (6, 6, 2)
    assert board.perplexity is not None and board.perplexity.texts > 10 and board.perplexity.ratio != 1
    assert board.win_rate is not None and (board.win_rate.pairs, board.win_rate.flips) == (2, 2)

    tallies = {one.purpose: one for one in await calls.tally("run")}
    # Two models; each prompt is answered three times, and no answer that is in the ledger is asked for again.
    assert (tallies["evaluate"].answered, tallies["evaluate"].failed) == (2 * len(everything), 0)
    assert tallies["evaluate.perplexity"].answered == 2 * board.perplexity.texts
    assert tallies["evaluate.ifeval"].answered == 4, "two prompts, base and adapter"
    assert board.ifeval is not None and (board.ifeval.prompts, board.ifeval.of) == (2, 3)
    assert [one.in_words for one in board.ifeval.accuracies] == [
        "prompt-level, strict",
        "instruction-level, strict",
        "prompt-level, loose",
        "instruction-level, loose",
    ]
    assert [spec.model for spec in asked if spec.base_url == "weights"][-4:] == 2 * [str(base)] + 2 * [adapter.folder]

    async def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("all is there already")

    monkeypatch.setattr(WeightsTransport, "send", refuse)
    monkeypatch.setattr(WeightsTransport, "likelihood", refuse)
    assert (await evaluate(state))["verdict"] == verdict


async def test_a_comparison_tells_its_own_progress(
    store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, ...]] = []

    def tell(step: str, advance: float = 0, *, total: int | None = None, **more: Any) -> None:
        told.append((step, advance, total))

    for module in ("nodes.compare", "tools.evaluation.measuring"):
        monkeypatch.setattr(f"{module}.report_progress", tell)

    async def opened(spec: Endpoint, run_id: str) -> ChatEndpoint:
        return FunctionEndpoint(lambda call: {"the": "sea"})

    request = RunRequest.model_validate({"evaluate": {"sampled_draws": 0, "resamples": 100}})
    deployed = Improvement(version="v1-00000000", adapter="registry/v1-00000000")
    made = AdapterRef(id="adapter1", folder="adapter1")
    state: PipelineState = {"run_id": "run", "request": request, "adapter": made, "improvement": deployed}
    await make_compare(store, CallStore(store.database), tmp_path / "runs", opened)(state)
    assert told[0] == ("compare", 0, 2 * len(SAMPLES)) and {step for step, _, _ in told} == {"compare"}
    assert sum(advance for _, advance, _ in told) == 2 * len(SAMPLES)

"""The weights endpoint: a folder of weights, with or without an adapter, answers calls as a server would."""

import asyncio
import json
import os
import queue
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from graph.preflight import preflight
from state.errors import BadInput, CallRefused
from state.request import Endpoint, Models, RunRequest
from tests.memory_ledger import MemoryLedger
from tests.tiny_model import tiny_model
from tools.endpoint import open_endpoint, probe
from tools.endpoint.chat import ChatCall, Completion
from tools.endpoint.failures import TryAgain
from tools.endpoint.weights import WeightsTransport
from tools.settings import load_settings
from tools.weights import worker
from tools.weights.pool import ModelPool, release_idle
from tools.weights.protocol import Draw, Drawn, Reply, Request, Score


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def transport(base: Path) -> Iterator[WeightsTransport]:
    """One process for all tests of the file, since each imports for seconds; it ends with this one."""
    yield from opened(base, 1)


@pytest.fixture(scope="module")
def two(base: Path) -> Iterator[WeightsTransport]:
    """Two of them."""
    yield from opened(base, 2)


def opened(base: Path, processes: int) -> Iterator[WeightsTransport]:
    transport = WeightsTransport(ModelPool(base, None, processes))
    yield transport
    for process in transport.pool.processes:
        if process.running is not None:
            process.running.kill()


def asks(text: str = "Say it.", **changes: object) -> ChatCall:
    fields = {"purpose": "respond", "temperature": 0.0, "max_tokens": 8, "seed": 1}
    return ChatCall.model_validate(fields | {"messages": ({"role": "user", "content": text},)} | changes)


async def texts(transport: WeightsTransport, calls: list[ChatCall]) -> list[str]:
    return [reply.text for reply in await asyncio.gather(*(transport.send(call, "m", 60) for call in calls))]


async def test_calls_are_answered_together_and_each_as_if_alone(transport: WeightsTransport) -> None:
    calls = [asks(f"Count to {number}.", max_tokens=4 + number % 2) for number in range(6)]
    together = await texts(transport, calls)
    assert together == [(await texts(transport, [call]))[0] for call in calls]
    replies = [await transport.send(call, "m", 60) for call in calls]
    assert [(r.finish_reason, r.completion_tokens) for r in replies] == [("length", 4), ("length", 5)] * 3
    assert all(reply.prompt_tokens > 10 for reply in replies)


async def test_a_draw_follows_from_its_seed_and_number(transport: WeightsTransport) -> None:
    calls = [asks(temperature=1.0, seed=seed, draw=draw) for seed in (1, 2) for draw in (0, 1)]
    first, again = await texts(transport, calls), await texts(transport, calls[::-1])
    assert first == again[::-1] and len(set(first)) == 4


async def test_turns_before_the_prompt_are_read(transport: WeightsTransport) -> None:
    example = ({"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"})
    plain, shown = asks(), asks(messages=(*example, {"role": "user", "content": "Say it."}))
    tokens = [(await transport.send(call, "m", 60)).prompt_tokens for call in (plain, shown)]
    assert tokens[0] + 10 < tokens[1]


async def test_what_it_cannot_do_is_refused_for_the_one_call(transport: WeightsTransport) -> None:
    with pytest.raises(CallRefused, match="plain text alone"):
        await transport.send(asks(json_schema={"type": "object"}), "m", 60)
    assert await texts(transport, [asks()])


async def test_half_a_surrogate_pair_is_read_as_a_character_that_is_unknown(transport: WeightsTransport) -> None:
    assert await texts(transport, [asks("Say \ud83d")]) == await texts(transport, [asks("Say \ufffd")])


async def test_a_killed_process_fails_its_calls_as_ones_to_try_again_and_another_takes_its_place(
    transport: WeightsTransport,
) -> None:
    before = await texts(transport, [asks()])
    process = transport.pool.processes[0].running
    assert process is not None
    waiting = asyncio.ensure_future(transport.send(asks(max_tokens=2000), "m", 60))
    await asyncio.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(TryAgain, match="model process"):
        await waiting
    assert await texts(transport, [asks()]) == before
    second = transport.pool.processes[0].running
    assert second is not None and second.stdin is not None and second.pid != process.pid
    second.stdin.close()
    ended = time.monotonic() + 20
    while second.poll() is None and time.monotonic() < ended:
        await asyncio.sleep(0.05)
    assert second.returncode == 0, "it ends when nobody can ask it any more"


@pytest.mark.usefixtures("in_this_process")
async def test_an_adapter_answers_by_its_own_weights(base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4, init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(str(tmp_path / "adapter"))
    spec = Endpoint(base_url="weights", model=str(tmp_path / "adapter"), concurrency=64)
    tuned = await open_endpoint(spec, MemoryLedger(), "run", load_settings())
    plain = await open_endpoint(spec.model_copy(update={"model": str(base)}), MemoryLedger(), "run", load_settings())
    calls = [asks(f"Count to {number}.") for number in range(3)]
    answers = [[(await endpoint.complete(call)).text for call in calls] for endpoint in (plain, tuned)]
    assert answers[0] != answers[1]


@pytest.mark.usefixtures("in_this_process")
async def test_a_base_without_a_chat_template_is_asked_in_alpacas_format(base: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(base, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    reply, with_template = [
        await WeightsTransport(ModelPool(folder, None, processes=1)).send(asks(), "m", 60) for folder in (bare, base)
    ]
    assert reply.completion_tokens and reply.prompt_tokens != with_template.prompt_tokens


def test_a_process_without_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.01)
    assert worker.gathered(queue.Queue()) == []
    waiting: queue.Queue[Request] = queue.Queue()
    for number, limit in enumerate((8, 16, 8)):
        fields = {
            "turns": ({"role": "user", "content": "Hi"},),
            "noise": "n",
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": limit,
        }
        waiting.put(Draw.model_validate({"number": number} | fields))
    assert [[draw.number for draw in group] for group in worker.gathered(waiting)] == [[0, 2], [1]]


async def test_all_who_open_it_at_once_share_its_processes(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "opened"
    shutil.copytree(base, folder)
    spec = Endpoint(base_url="weights", model=str(folder))
    opened = await asyncio.gather(*(open_endpoint(spec, MemoryLedger(), f"{n}", load_settings()) for n in range(8)))
    assert len({id(endpoint.transport.pool) for endpoint in opened}) == 1


@pytest.mark.usefixtures("in_this_process")
async def test_other_weights_in_the_same_folder_are_another_model(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder, ledger = tmp_path / "retrained", MemoryLedger()
    shutil.copytree(base, folder)
    spec = Endpoint(base_url="weights", model=str(folder))

    async def answered() -> Completion:
        return await (await open_endpoint(spec, ledger, "run", load_settings())).complete(asks())

    first, again = await answered(), await answered()
    assert again.from_ledger and again.key == first.key
    trained = {name: -weight for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(trained, folder / "model.safetensors", metadata={"format": "pt"})
    later = await answered()
    assert not later.from_ledger and later.key != first.key and later.text != first.text
    assert all(call.model.startswith(f"{folder}@") for call in ledger.calls.values())


async def test_draws_of_one_prompt_go_to_one_process(two: WeightsTransport) -> None:
    calls = [asks(f"Count to {number}.", draw=draw) for number in range(3) for draw in range(3)]
    wave = [asyncio.create_task(two.send(call, "m", 60)) for call in calls]
    await asyncio.sleep(0)
    assert sorted(sorted(process.claimed.values()) for process in two.pool.processes) == [[3], [3, 3]]
    await asyncio.gather(*wave)


async def test_calls_of_one_wave_are_dealt_to_all_processes(two: WeightsTransport) -> None:
    workers = two.pool.processes
    wave = [asyncio.create_task(two.send(asks(f"{number}"), "m", 60)) for number in range(9)]
    await asyncio.sleep(0)
    assert sorted(worker.claimed.total() for worker in workers) == [4, 5]
    await asyncio.gather(*wave)
    processes = [worker.running for worker in workers]
    assert all(processes) and [worker.claimed.total() for worker in workers] == [0, 0]

    release_idle()
    assert [worker.running for worker in workers] == [None, None]
    assert all(process is not None and process.poll() is not None for process in processes)
    assert await texts(two, [asks("0")]), "the next call starts another"
    two.pool.release()


def test_greedy_draws_are_done_with_sampled_ones() -> None:
    turns = ({"role": "user", "content": "Hi"},)

    def draw(number: int, temperature: float, max_tokens: int = 8) -> Draw:
        return Draw(number=number, turns=turns, temperature=temperature, top_p=0.9, max_tokens=max_tokens)

    text = Score(number=5, turns=turns, completion="")
    requests = [draw(0, 0), draw(1, 0.7), draw(2, 0), draw(3, 1.0), draw(4, 0, 16), text]
    groups = worker.groups_of(requests)
    assert sorted(sorted(one.number for one in group) for group in groups) == [[0, 1, 2], [3], [4], [5]]


def test_what_fails_together_is_tried_in_halves() -> None:
    draws = [
        Draw(number=n, turns=({"role": "user", "content": "Hi"},), noise="", temperature=0, top_p=1, max_tokens=8)
        for n in range(7)
    ]
    sizes: list[int] = []

    def complete(group: Sequence[Request], emit: worker.Emit) -> None:
        sizes.append(len(group))
        for draw in group:
            if draw.number == 4:
                raise MemoryError("too long")
            emit(Drawn(number=draw.number, text="done"))

    found: list[Reply] = []
    worker.answer_each(draws, complete, found.append)
    assert {drawn.number: drawn.failed for drawn in found} == {n: "" for n in range(7)} | {4: "MemoryError: too long"}
    assert len(found) == 7 and sizes == [7, 2, 1, 1, 1]


async def test_weights_that_do_not_load_say_why(base: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in base.iterdir():
        (broken / file.name).write_bytes(file.read_bytes() if file.suffix != ".safetensors" else b"none")
    with pytest.raises(TryAgain, match="Safetensor"):
        await WeightsTransport(ModelPool(broken, None, processes=1)).send(asks(), "m", 60)


@pytest.mark.usefixtures("in_this_process")
async def test_it_stands_behind_the_ledger_as_any_endpoint(base: Path) -> None:
    spec = Endpoint(base_url="weights", model=str(base), concurrency=64)
    assert (await probe(spec, load_settings())).models == (str(base),)
    endpoint = await open_endpoint(spec, MemoryLedger(), "run", load_settings())
    first = await endpoint.complete(asks())
    again = await endpoint.complete(asks())
    assert again.from_ledger and again.text == first.text and not first.from_ledger


async def test_it_is_no_judge() -> None:
    request = RunRequest(models=Models(judge=Endpoint(base_url="weights", model="embedded")))
    with pytest.raises(BadInput, match="plain text alone; judge by 'embedded' or a URL"):
        await preflight(request, load_settings())


async def test_a_model_that_is_not_there_is_bad_input() -> None:
    with pytest.raises(BadInput, match="neither a folder here nor a name on the hub"):
        await probe(Endpoint(base_url="weights", model="./no-such-folder"), load_settings())

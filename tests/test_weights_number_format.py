"""What weights of this machine answer in bfloat16 has another name and key than what they answered in float32."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from state.request import Endpoint, Judging
from tests.memory_ledger import MemoryLedger
from tests.tiny_model import tiny_model
from tools.endpoint import open_endpoint
from tools.endpoint.chat import ChatCall, Likelihood, LikelihoodCall
from tools.endpoint.embedded import KIND as EMBEDDED_KIND
from tools.endpoint.transport import Reply, chat_body
from tools.endpoint.weights import WeightsTransport, ledger_model
from tools.judging.judge import identity_of, judge_identity
from tools.settings import load_settings
from tools.weights import number_format
from tools.weights.number_format import (
    NumberFormat,
    answering_format,
    cpu_has_bfloat16,
    named_with_format,
    without_format,
)
from tools.weights.pool import ModelPool

JUDGE = "smollm2-135m-instruct"
SAID = ({"role": "user", "content": "Say it."},)
CHAT = ChatCall(purpose="respond", messages=SAID, temperature=0.0, max_tokens=4)
SCORED = LikelihoodCall(purpose="judge", messages=SAID, completion="It.")


class Machine:
    """A machine with or without instructions for bfloat16."""

    def __init__(self, facts: Path) -> None:
        self.facts = facts

    def computes_in(self, wanted: NumberFormat) -> None:
        flags = "fpu sse2 avx512_bf16 amx_tile" if wanted == "bfloat16" else "fpu sse2 avx512bw"
        self.facts.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
        cpu_has_bfloat16.cache_clear()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(number_format, "CPU_FACTS", tmp_path / "cpuinfo")
    monkeypatch.setattr(number_format, "gpu_count", lambda: 0)
    yield Machine(tmp_path / "cpuinfo")
    cpu_has_bfloat16.cache_clear()


def test_the_format_follows_from_what_the_machine_has(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_has_bfloat16.cache_clear()
    assert answering_format() == "float32", "without the kernel's list"
    for wanted in ("bfloat16", "float32"):
        machine.computes_in(wanted)
        assert answering_format() == wanted
    monkeypatch.setattr(number_format, "gpu_count", lambda: 1)
    assert answering_format() == "bfloat16"


def test_only_another_format_than_float32_changes_a_name() -> None:
    assert [named_with_format(name, "float32") for name in ("org/name", "folder@12ab")] == ["org/name", "folder@12ab"]
    assert named_with_format("org/name", "bfloat16") == "org/name@bfloat16"
    assert named_with_format("folder@12ab", "bfloat16") == "folder@12ab-bfloat16"
    for name in ("org/name", "folder@12ab", "org/tiny-bfloat16"):
        assert without_format(named_with_format(name, "bfloat16")) == without_format(name) == name


def test_the_identity_of_a_judge_by_likelihoods_knows_the_format(machine: Machine) -> None:
    def identities() -> list[str]:
        return [judge_identity(JUDGE, Judging(), by_checks=told) for told in (True, False)]

    machine.computes_in("float32")
    wide = identities()
    assert wide[0] == f"checks and likelihood filter/{JUDGE}/general@52f8df079004", "as before formats were known"
    machine.computes_in("bfloat16")
    narrow = identities()
    assert narrow[0] != wide[0] and narrow[0].startswith(f"checks and likelihood filter/{JUDGE}/general@")
    assert narrow[1] == wide[1], "a crew behind a URL computes elsewhere"
    named = judge_identity("org/name@bfloat16", Judging(), by_checks=True)
    assert named == identity_of(Endpoint(base_url="weights", model="org/name"), Judging(), Path("none")), (
        "opened or not"
    )


async def test_weights_are_asked_again_in_another_format_and_not_in_the_same(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model(tmp_path / "made"), base := tmp_path / "base")
    asked: list[str] = []

    async def send(self: WeightsTransport, call: ChatCall, model: str, timeout: float) -> Reply:
        asked.append(model)
        return Reply(text="It.", finish_reason="stop")

    async def likelihood(self: WeightsTransport, call: LikelihoodCall, model: str) -> Likelihood:
        asked.append(model)
        return Likelihood(log_likelihood=-1.0, tokens=1)

    monkeypatch.setattr(WeightsTransport, "send", send)
    monkeypatch.setattr(WeightsTransport, "likelihood", likelihood)
    ledger, spec = MemoryLedger(), Endpoint(base_url="weights", model=str(base))
    for wanted in ("float32", "bfloat16", "float32", "bfloat16"):
        machine.computes_in(wanted)
        endpoint = await open_endpoint(spec, ledger, "run", load_settings())
        await endpoint.complete(CHAT)
        await endpoint.likelihood(SCORED)
    machine.computes_in("float32")
    plain = ledger_model(str(base), load_settings().cache)
    assert plain.startswith(f"{base}@") and asked == [plain, plain, f"{plain}-bfloat16", f"{plain}-bfloat16"]
    assert {call.key("weights", plain) for call in (CHAT, SCORED)} <= ledger.calls.keys(), "keys as before"


async def test_of_the_embedded_model_only_the_likelihoods_have_a_format(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answers:
        can, limits = EMBEDDED_KIND.can, None

        def body(self, call: ChatCall, model: str) -> dict[str, object]:
            return chat_body(call, model)

        async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
            return Reply(text="It.", finish_reason="stop")

        async def likelihood(self, call: LikelihoodCall, model: str) -> Likelihood:
            return Likelihood(log_likelihood=-1.0, tokens=1)

    monkeypatch.setattr("tools.endpoint.embedded._transport", lambda _: Answers())
    ledger = MemoryLedger()
    for wanted in ("float32", "bfloat16"):
        machine.computes_in(wanted)
        endpoint = await open_endpoint(Endpoint(), ledger, "run", load_settings())
        await endpoint.complete(CHAT)
        await endpoint.likelihood(SCORED)
    assert ledger.calls.keys() == {
        CHAT.key("embedded", JUDGE),
        SCORED.key("embedded", JUDGE),
        SCORED.key("embedded", f"{JUDGE}@bfloat16"),
    }
    assert {call.model for call in ledger.calls.values()} == {JUDGE}


async def test_the_processes_load_the_format_that_the_name_says(machine: Machine, tmp_path: Path) -> None:
    machine.computes_in("bfloat16")
    command = ModelPool(tmp_path, None, processes=1).processes[0]._command
    assert command[-2:] == [str(tmp_path), "bfloat16"]


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_a_model_is_loaded_in_the_format_that_is_asked(wanted: NumberFormat, tmp_path: Path) -> None:
    from tools.weights.worker import Model

    model = Model(tiny_model(tmp_path), None, wanted)._model
    assert str(model.dtype) == f"torch.{wanted}"

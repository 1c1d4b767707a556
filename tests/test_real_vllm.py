"""The adapter's API through a real vLLM server, on demand: ``VLLM=/its/bin/vllm make test-servers``.

vLLM wants an environment of its own, and without a GPU one of its builds for the processor. It reads each version of
the registry by its own loader, so one that it cannot read fails here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.served_registry import ServedRegistry, make_registry
from tests.test_deploy import PROMPTS, TOKENS, Trainer
from tests.test_real_servers import free_port, started
from tools.engine.parity import REQUESTS, measure_parity
from tools.engine.vllm import served_there

pytestmark = pytest.mark.skipif(not os.environ.get("VLLM"), reason="VLLM names no program")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedRegistry:
    return make_registry(tmp_path_factory.mktemp("served"), head=64)


@pytest.fixture(scope="module")
def vllm(served: ServedRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [os.environ["VLLM"], "serve", str(served.base), "--enable-lora", "--max-lora-rank", "16"]
    command += ["--dtype", "float32", "--max-model-len", "256", "--max-num-seqs", "4", "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": "",
    }
    with started(command, port, tmp_path_factory.mktemp("vllm") / "log", **environment) as url:
        yield url


async def test_vllm_serves_what_was_trained(served: ServedRegistry, vllm: str) -> None:
    texts: dict[str, list[str]] = {}
    for number, version in enumerate((served.first, served.second), start=1):
        trainer = Trainer(served.base, served.base.parent / f"adapter-{number}")
        answers = [trainer.answer(prompt) for prompt in PROMPTS]
        async with served_there(served.registry / version, vllm) as held:
            parity = await measure_parity(held, trainer.tokenizer, PROMPTS, answers, trainer.likelihood, TOKENS)
        print(version, parity.words)
        assert (parity.untold, parity.faults) == ("", ()) and parity.requests_equal == len(REQUESTS)
        assert parity.answers_equal == len(PROMPTS)
        texts[version] = answers
    assert texts[served.first] != texts[served.second], "each is served by its own adapter"

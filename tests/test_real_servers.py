"""A run's steps before its training against servers of others, on demand: ``make test-servers``.

Each starts on loopback with the small model that comes with Corral. One that is not installed is passed over; LiteLLM
has so many pinned packages that it wants an environment of its own: ``LITELLM=/its/bin/litellm make test-servers``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import Corral, write_prompts

pytestmark = pytest.mark.skipif(not os.environ.get("TEST_SERVERS"), reason="make test-servers runs it")
SECONDS = 600
"""How long a server may take to start."""
PATIENCE = 600.0
"""How long one answer may take: the model computes on the processor that everything else runs on."""
KEY = "sk-a-key-of-the-tests-for-LiteLLM-which-will-not-start-without-one"


def free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        return int(probing.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, log: Path, **environment: str) -> Iterator[str]:
    """Run a server until the test is done, and yield its base URL once it answers anything."""
    with log.open("wb") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **environment})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(SECONDS):
            assert server.poll() is None, log.read_text(errors="replace")[-2000:]
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(1)
        yield f"{url}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


def llama_cpp() -> str:
    """Return the URL of llama.cpp's server, which runs in this process."""
    from tools.endpoint.embedded import embedded_urls

    return asyncio.run(embedded_urls())[0]


@contextmanager
def served(name: str, folder: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield an endpoint at a server, and whether it can judge: whether it holds an answer to a schema."""
    port = free_port()
    match name:
        case "llama.cpp":
            yield {"base_url": llama_cpp(), "model": "smollm2-135m-instruct", "timeout": PATIENCE}, True
        case "transformers":
            from tools.settings import load_settings
            from tools.weights.folders import base_folder

            base = str(base_folder("embedded", load_settings().cache))
            command = [str(Path(sys.executable).with_name("transformers")), "serve", base, "--port", str(port)]
            with started(command, port, folder / "log", HF_HUB_OFFLINE="1") as url:
                yield {"base_url": url, "model": base, "timeout": PATIENCE}, False
        case "litellm":
            program = os.environ.get("LITELLM") or shutil.which("litellm")
            if program is None:
                pytest.skip("there is no litellm; LITELLM names one")
            behind = {"model": "openai/smollm2-135m-instruct", "api_base": llama_cpp(), "api_key": "none"}
            listed = {"model_list": [{"model_name": "small/*", "litellm_params": behind}]}
            (folder / "litellm.yaml").write_text(yaml.safe_dump(listed))
            command = [program, "--config", str(folder / "litellm.yaml"), "--port", str(port)]
            with started(command, port, folder / "log", LITELLM_MASTER_KEY=KEY) as url:
                yield {"base_url": url, "model": "small/one", "timeout": PATIENCE}, True


def holds_a_schema(endpoint: dict[str, Any]) -> bool:
    """Ask for a greeting as an object of a schema, and return whether one came: the model by itself would give none."""
    schema = {
        "type": "object",
        "properties": {"score": {"type": "integer"}},
        "required": ["score"],
        "additionalProperties": False,
    }
    body = {
        "model": endpoint["model"],
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 24,
        "temperature": 0,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}},
    }
    request = urllib.request.Request(
        f"{endpoint['base_url']}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        text = json.load(response)["choices"][0]["message"]["content"]
    print(repr(text))
    try:
        return set(json.loads(text)) == {"score"}
    except (ValueError, TypeError):
        return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["llama.cpp", "transformers", "litellm"])
def test_a_run_is_taken_to_its_training(
    name: str, corral: Corral, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "litellm":
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with served(name, tmp_path) as (endpoint, judges):
        assert holds_a_schema(endpoint) == judges, "as docs/servers.md says"
        config = {
            "models": {"generator": endpoint, "policy": endpoint, **({"judge": endpoint} if judges else {})},
            "sources": {"prompts": str(write_prompts(tmp_path / "prompts.jsonl", 2, 1))},
            "generation": {"target": 2, "rounds": 1, "tasks_per_call": 5, "max_tokens": 256},
            "sampling": {"candidates": 2, "max_tokens": 32},
            "judge": {"max_tokens": 96},
        }
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
        code, out, error = corral("run", str(tmp_path / "run.yaml"), "--preview", "2")
        print(out, error)
        assert code == 0
        respond = next(line for line in out.splitlines() if line.strip().lstrip("│ ").startswith("respond"))
        assert any(figure.isdigit() and int(figure) for figure in respond.split())

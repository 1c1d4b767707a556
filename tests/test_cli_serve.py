"""``corral serve``: what it refuses, how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from serving.server import Server, bound
from state.errors import BadInput
from tests.harness import ROOT, Corral, Home, refused
from tests.served_registry import ServedRegistry
from tools.engine.embedded import Live, start_live
from tools.engine.versions import Readers, base_of
from tools.weights.gguf_files import gguf_of
from tools.weights.gguf_fit import unfit


def test_a_port_in_use_and_an_address_for_everybody_are_refused(corral: Corral) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(corral("serve", "--port", str(taken.getsockname()[1])), "Address already in use", "--port")
    refused(corral("serve", "--host", "0.0.0.0"), "0.0.0.0 is reached from other machines", "CORRAL_SERVE_TOKENS")
    refused(corral("serve", "--host", "192.0.2.1", "--port", "0"), "CORRAL_SERVE_TOKENS")


def test_a_version_whose_base_is_gone_is_one_line(corral: Corral, tmp_path: Path) -> None:
    version = tmp_path / "home" / "registry" / "v1-00000001"
    version.mkdir(parents=True)
    (version / "adapter_config.json").write_text('{"base_model_name_or_path": "/gone/base"}')
    (version / "adapter_model.safetensors").write_bytes(b"")
    (version.parent / "current").symlink_to(version.name)
    result = corral("serve", "--port", "0")
    refused((result[0], result[1], result[2].split("\n", 1)[1]), "/gone/base", "v1-00000001")


def test_a_gguf_that_does_not_fit_is_one_line(corral: Corral, served: ServedRegistry, tmp_path: Path) -> None:
    home = served.copied(tmp_path)
    other = home.registry / home.first / "base"
    (other / "model.gguf").write_bytes(b"no model at all")
    result = corral("serve", "--port", "0")
    refused((result[0], result[1], result[2].split("\n", 1)[1]), "model.gguf cannot be read as a GGUF model")
    (other / "model.gguf").unlink()
    shutil.copy(home.registry / home.first / "adapter.gguf", other / "model.gguf")
    result = corral("serve", "--port", "0")
    refused((result[0], result[1], result[2].split("\n", 1)[1]), "model.gguf cannot be read as a GGUF model")


def test_a_gguf_adapter_that_does_not_fit_is_one_line_and_keeps_no_other_from_being_served(
    served: ServedRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home, cache = served.copied(tmp_path), served.home / "cache"
    file = home.registry / home.second / "adapter.gguf"
    gguf = gguf_of(served.base, cache)
    assert unfit({"it": file}, gguf) == {}
    write_adapter_of_another_width(file, tmp_path / "other.gguf")
    found = unfit({"it": tmp_path / "other.gguf"}, gguf)
    assert "is no adapter of" in found["it"] and "blk.0.attn_k.weight is 8 x 8 in it, and " in found["it"]
    file.write_bytes(b"none")

    def start(wanted: str) -> Live:
        base, folders = (
            base_of(home.registry / home.first, cache),
            [home.registry / home.first, home.registry / home.second],
        )
        return start_live(base, folders, wanted, Readers(), cache, 1, 64)

    with pytest.raises(BadInput, match=f"{home.second}/adapter.gguf cannot be read as a GGUF file"):
        start(home.second)
    caplog.clear()
    live = start(home.first)
    live.server.close()
    assert set(live.readers) == {"base", home.first}
    assert [vars(record)["version"] for record in caplog.records] == [home.second]


def write_adapter_of_another_width(adapter: Path, out: Path) -> None:
    """Write a GGUF adapter with one weight alone, for a base with eight columns."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(out, str(gguf.GGUFReader(adapter).fields["general.architecture"].contents()))
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for side, shape in (("a", (2, 8)), ("b", (8, 2))):
        writer.add_tensor(f"blk.0.attn_k.weight.lora_{side}", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_the_command_answers_and_ends_in_order(served: ServedRegistry, tmp_path: Path) -> None:
    home = served.copied(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "corral.cli", "serve", "--port", "0"],
        cwd=ROOT, env=Home(tmp_path, tmp_path / "none.yaml").environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[0]
        found = httpx.post(f"{url}/generate", json={"instruction": "Hello.", "max_tokens": 3}, timeout=120)
        assert found.json()["model"] == home.first
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.stderr.close() if process.stderr else None


async def test_a_signal_while_the_application_is_made_ends_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """It was lost: what is served was to be drained before there was any."""
    making = asyncio.Event()

    @asynccontextmanager
    async def slow(app: FastAPI) -> AsyncIterator[None]:
        making.set()
        await asyncio.sleep(0.2)
        yield

    server = Server(FastAPI(lifespan=slow), "WARNING", load=True, drain=5)
    with bound("127.0.0.1", 0) as listening:
        serving = asyncio.create_task(server._serve(sockets=[listening]))
        await making.wait()
        server.handle_exit(signal.SIGTERM, None)
        await asyncio.wait_for(serving, 5)
    assert server.received == [signal.SIGTERM] and server.failed is None
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_answer_that_is_cut_at_the_end_is_no_traceback(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, began = FastAPI(), asyncio.Event()

    @app.get("/")
    async def long() -> None:
        began.set()
        await asyncio.sleep(60)

    monkeypatch.setattr("serving.server.CUT_SECONDS", 0)
    server = Server(app, "WARNING", load=False, drain=0.1)
    with bound("127.0.0.1", 0) as listening:
        serving = asyncio.create_task(server._serve(sockets=[listening]))
        async with httpx.AsyncClient(timeout=10) as client:
            asking = asyncio.create_task(client.get(f"http://127.0.0.1:{listening.getsockname()[1]}"))
            await began.wait()
            server.handle_exit(signal.SIGINT, None)
            await asyncio.wait_for(serving, 10)
            await asyncio.gather(asking, return_exceptions=True)
    assert not [record for record in caplog.records if record.exc_info]
    ended: list[int] = []
    monkeypatch.setattr("os._exit", ended.append)
    server.handle_exit(signal.SIGINT, None)
    assert ended == [130], "a second one ends at once"

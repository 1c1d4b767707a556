"""``corral serve``: what it refuses, how it starts, and how it ends."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.harness import ROOT, Corral, Home, refused
from tests.served_registry import ServedRegistry


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

"""What a hostile server, model folder, URL or place can do: nothing that was not asked for, and no secret leaves."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from state.database import Database
from state.errors import BadInput, CallFailed, EndpointError
from state.masking import MASK, masked
from state.pipeline import AdapterRef
from state.request import Endpoint, RunRequest
from tests.harness import Corral, refused
from tests.memory_ledger import MemoryLedger
from tools.endpoint.chat import ChatCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import LONGEST_ANSWER, HttpTransport
from tools.files import write_out
from tools.gates import gate_file
from tools.registry import deploy, point
from tools.settings import Settings, load_settings
from tools.weights.folders import base_folder
from tools.weights.trust import code_options

KEY = "tr0ub4dor-and-3-horses"
CALL = ChatCall(purpose="judge", messages=({"role": "user", "content": "Hello"},))
Answer = Callable[[BaseHTTPRequestHandler], None]


# --- a hostile server


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                answer(self)
            except OSError:
                pass

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sends(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" " * 2**20)


def echo(status: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        text = f"you sent {handler.headers['Authorization']}, which begins {KEY[:10]}"
        answered = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        told = answered if status == 200 else {"error": {"message": text}}
        place = {"Location": f"http://user:{KEY}@elsewhere/{KEY}"} if status == 302 else {}
        sends(status, json.dumps(told).encode(), **place)(handler)

    return answer


async def ask(url: str, ledger: MemoryLedger) -> str:
    spec = Endpoint(base_url=url, model="m", attempts=1)
    return (await LedgeredEndpoint(HttpTransport(url, [KEY]), ledger, spec, "run").complete(CALL)).text


@pytest.mark.parametrize(
    "answer",
    [
        endless,
        sends(200, gzip.compress(bytes(200 * 2**20), 9), Content_Encoding="gzip"),
        sends(500, b"x" * (LONGEST_ANSWER + 1)),
    ],
    ids=["endless", "a bomb of 200 MB", "an error"],
)
async def test_an_answer_over_the_limit_is_cut(answer: Answer) -> None:
    with answering(answer) as url, pytest.raises(CallFailed, match="sent more than 8 MiB for one answer"):
        await ask(url, MemoryLedger())


async def test_a_long_answer_within_the_limit_is_read() -> None:
    text = "word " * 300_000
    body = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "length"}]}).encode()
    with answering(sends(200, body)) as url:
        assert await ask(url, MemoryLedger()) == text


@pytest.mark.parametrize("status", [200, 302, 400, 401, 402, 403, 404, 429, 500, 503])
async def test_a_key_that_a_server_echoes_is_kept_and_shown_nowhere(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = MemoryLedger()
    with answering(echo(status)) as url:
        if status == 200:
            told = await ask(url, ledger)
            assert told.startswith(f"you sent Bearer {MASK}")
        else:
            with pytest.raises(EndpointError) as caught:
                await ask(url, ledger)
            told = str(caught.value)
            if status not in (302, 429):
                assert f"you sent Bearer {MASK}" in told
                assert KEY[:10] not in told
    kept = "".join(call.model_dump_json() for call in ledger.calls.values()) + caplog.text
    assert KEY not in told + kept and len(ledger.calls) == 1


@given(
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=6, max_size=40),
    st.text(st.characters(codec="ascii")), st.text(st.characters(codec="ascii")),
)  # fmt: skip
def test_a_known_key_never_stays_in_a_text(key: str, before: str, after: str) -> None:
    told = masked(f"{before} {key} {after}", [key])
    assert key not in told.replace(MASK, "\0")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ada:hunter2@host/db",
        "postgresql://ada:hun/ter2@host/db",
        "http://ada:hunter2@proxy:3128",
        "postgresql://host/db?user=ada&password=hunter2",
    ],
)
def test_passwords_in_urls_are_masked(text: str) -> None:
    assert "ter2" not in masked(text) and "host" in masked(text).replace("proxy", "host")


def test_what_is_no_secret_stays() -> None:
    for text in ("see https://example.com/@ada and mail ada@example.com", "basic understanding", "sk-8"):
        assert masked(text, ["none"]) == text


# --- URLs and keys that cannot be


@pytest.mark.parametrize(
    "url",
    ["https://ada:hunter2@api.example/v1", "https://hunter2@api.example/v1", "https://api.example/v1?key=hunter2"],
)
def test_a_url_with_a_secret_is_refused_without_it(url: str, monkeypatch: pytest.MonkeyPatch, corral: Corral) -> None:
    with pytest.raises(ValidationError) as caught:
        Endpoint(base_url=url)
    assert "api.example must" in str(caught.value)
    result = corral("run", "--set", f"models.judge.base_url='{url}'")
    refused(result, "models.judge.base_url", "api.example")
    assert "hunter2" not in result[2]
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    result = corral("doctor")
    refused(result, "OPENAI_BASE_URL", "api.example")
    assert "hunter2" not in result[2]


def test_a_database_is_named_without_its_password() -> None:
    place = Database("postgresql://ada:hunter2@127.0.0.1:1/corral?password=hunter3&sslmode=disable").place
    assert "hunter" not in place and "127.0.0.1" in place and "sslmode=disable" in place


@pytest.mark.parametrize(
    "key", ["two\nlines", "good,a\tb", "a b", "caf\u00e9", "\u201cquoted\u201d", "a\x00b", "x\r\nHost: y"]
)
@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "LANGSMITH_API_KEY"])
def test_a_key_that_fits_no_header_is_bad_input(name: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\x00" in key:  # the environment holds none
        with pytest.raises(ValidationError):
            Settings.model_validate({name: key})
        return
    monkeypatch.setenv(name, key)
    with pytest.raises(BadInput, match=f"environment: {name}: .*holds a space, a control character") as caught:
        load_settings()
    assert "\n" not in str(caught.value) and key not in str(caught.value)


def test_keys_are_trimmed_and_hidden() -> None:
    settings = Settings(openai_api_key=SecretStr(f" {KEY} , other-key\n"))
    assert settings.api_keys == (KEY, "other-key") and KEY not in repr(settings)


# --- a hostile model folder


def model(folder: Path, **changes: Any) -> Path:
    """Make a folder of a model that is complete by its names."""
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text(json.dumps(changes.get(name.removesuffix(".json"), {})))
    (folder / changes.get("weights", "model.safetensors")).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": "pytorch_model.bin"}, r"pytorch_model\.bin is pickled"),
        ({"weights": "consolidated.pt"}, r"consolidated\.pt is pickled"),
        ({"config": {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}}, r"config\.json names Python code"),
        (
            {"tokenizer_config": {"auto_map": {"AutoTokenizer": ["evil.T", None]}}},
            r"tokenizer_config\.json names Python",
        ),
    ],
)
def test_a_model_that_would_run_code_is_refused_unless_trusted_by_name(
    changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "models--ada--evil" / "snapshots" / "1", **changes)
    with pytest.raises(BadInput, match=said) as caught:
        base_folder(str(folder), tmp_path)
    assert "CORRAL_TRUSTED_MODELS" in str(caught.value) and "\n" not in str(caught.value)
    assert code_options(folder) == {}
    for name in (str(folder), "other/model, ada/evil"):
        monkeypatch.setenv("CORRAL_TRUSTED_MODELS", name)
        assert base_folder(str(folder), tmp_path) == folder
        assert code_options(folder) == ({} if "weights" in changes else {"trust_remote_code": True})


def test_pickles_beside_safe_weights_are_no_matter(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "optimizer.pt").write_bytes(b"")
    assert base_folder(str(folder), tmp_path) == folder


def test_safetensors_of_another_name_do_not_hide_a_pickle(tmp_path: Path) -> None:
    folder = model(tmp_path / "model", weights="pytorch_model.bin")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="is pickled"):
        base_folder(str(folder), tmp_path)


def test_a_trusted_models_own_code_is_what_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    base = model(tmp_path / "own", config={"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}})
    (base / "mine.py").write_text(
        "from transformers import PretrainedConfig\nclass Mine(PretrainedConfig):\n    model_type = 'mine'\n"
    )
    with pytest.raises(BadInput, match="auto_map"):
        base_folder(str(base), tmp_path)
    monkeypatch.setenv("CORRAL_TRUSTED_MODELS", str(base))
    loaded = AutoConfig.from_pretrained(str(base_folder(str(base), tmp_path)), **code_options(base))
    assert type(loaded).__name__ == "Mine"


# --- places


def test_what_is_written_replaces_a_link_and_follows_none(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "out").symlink_to(precious)
    write_out(tmp_path / "out", b"new")
    assert precious.read_text() == "kept" and (tmp_path / "out").read_bytes() == b"new"
    with pytest.raises(BadInput, match="is a folder; name a file in it"):
        write_out(tmp_path, b"new")


def test_a_device_is_written_to_and_stays_one() -> None:
    write_out(Path("/dev/null"), b"gone")
    assert Path("/dev/null").is_char_device()


def test_the_gates_overwrite_their_own_results_alone(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"instruction": "Name three rivers of Europe.", "input": "", "output": "Rhine."}) + "\n")
    out = tmp_path / "out"
    for name in ("report.json", "accepted.jsonl"):
        out.mkdir(exist_ok=True)
        (out / name).write_text('{"mine": true}')
        with pytest.raises(BadInput, match=f"{name} is there already"):
            gate_file(rows, out, RunRequest().gates)
        assert (out / name).read_text() == '{"mine": true}'
        (out / name).unlink()
    assert gate_file(rows, out, RunRequest().gates).rows == gate_file(rows, out, RunRequest().gates).rows == 1


@pytest.mark.parametrize("version", ["../../elsewhere", "v1-../../x", "/etc", "current", ""])
def test_no_version_leads_out_of_the_registry(version: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no version"):
        point(tmp_path, version)


def test_a_file_that_is_no_pointer_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "current").write_text("precious")
    with pytest.raises(BadInput, match="is no pointer of a registry"):
        deploy(AdapterRef(id="0123456789", folder=str(tmp_path / "adapter")), tmp_path / "registry", {})
    assert (tmp_path / "registry" / "current").read_text() == "precious"
    assert [path.name for path in (tmp_path / "registry").iterdir()] == ["current"]

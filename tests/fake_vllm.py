"""A local server that says it is vLLM: it loads adapters by name, streams chat completions, and keeps what it saw."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from tools.weights.template import prompt_tokens

BASE = "fake/base-1b"


class Handler(BaseHTTPRequestHandler):
    fake: FakeVllm
    server_version = "vllm-fake"

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        models = [{"id": BASE, "object": "model", "parent": None}]
        models += [{"id": name, "object": "model", "parent": BASE} for name in self.fake.loaded]
        self.answer(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            return self.load(body)
        if self.path in ("/tokenize", "/detokenize") and self.fake.tokenizer is not None:
            return self.tell(body)
        if self.path != "/v1/chat/completions":
            return self.answer(404, {"error": {"message": "Not Found", "type": "NotFoundError", "code": 404}})
        self.fake.asked.append(body)
        if body["model"] not in (BASE, *self.fake.loaded):
            return self.answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        if len(body["messages"][-1]["content"]) > 500:
            said = "This model's maximum context length is 100 tokens, and the request has 200 input tokens."
            return self.answer(400, {"error": {"message": said, "code": 400}})
        self.stream(body)

    def load(self, body: dict[str, Any]) -> None:
        if body["lora_name"] in self.fake.loaded:
            return self.answer(400, {"message": f"The lora adapter '{body['lora_name']}' has already been loaded."})
        if not (Path(body["lora_path"]) / "adapter_config.json").is_file():
            return self.answer(404, {"error": {"message": f"No adapter found for {body['lora_path']}"}})
        self.fake.loaded[body["lora_name"]] = body["lora_path"]
        self.answer(200, f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    def tell(self, body: dict[str, Any]) -> None:
        """Answer as vLLM tells of its tokenizer, which reads a chat by its own template."""
        if body["model"] not in (BASE, *self.fake.loaded):
            return self.answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        if self.path == "/detokenize":
            return self.answer(200, {"prompt": self.fake.tokenizer.decode(body["tokens"])})
        assert body["add_generation_prompt"]
        tokens = prompt_tokens(self.fake.tokenizer, body["messages"])
        self.answer(200, {"count": len(tokens), "max_model_len": 2048, "tokens": tokens, "token_strs": None})

    def stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        head = {
            "id": "chatcmpl-theirs",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
        }
        words = ["I ", "am ", body["model"]]
        deltas: list[tuple[dict[str, str], str | None]] = [({"content": word}, None) for word in words]
        for delta, finish in [({"role": "assistant", "content": ""}, None), *deltas, ({}, "stop")]:
            told = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
            logprobs = {"content": [told]} if body.get("logprobs") and delta.get("content") else None
            choices = [
                {"index": n, "delta": delta, "logprobs": logprobs, "finish_reason": finish} for n in range(body["n"])
            ]
            self.event(head | {"choices": choices})
            time.sleep(self.fake.pause)
        self.event(head | {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3 * body["n"]}})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, body: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
        self.wfile.flush()

    def answer(self, status: int, body: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


class FakeVllm:
    """Use as a context; ``url`` is the server's, up to ``/v1``."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        self.pause = 0.0
        self.tokenizer: Any = None
        """Tells token ids by this one, as vLLM does; a server without one does not offer it."""
        handler = type("Own", (Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

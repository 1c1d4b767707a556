"""A Hugging Face hub on this machine: it takes repositories, cards and commits, and keeps the files."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import yaml

REPOSITORY = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)/(preupload|commit)/main")


class FakeHub:
    """Use as a context; ``files`` has what was committed, by repository and path."""

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.files: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.repositories: list[dict[str, Any]] = []
        self.cards: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                open_to_all = self.path == "/api/validate-yaml"
                if hub.token and not open_to_all and self.headers.get("Authorization") != f"Bearer {hub.token}":
                    return self.answer(401, {"error": "Invalid credentials in Authorization header"})
                self.answer(*hub.answer(self.path, body))

            def answer(self, status: int, found: Any) -> None:
                data = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path == "/api/repos/create":
            asked = json.loads(body)
            self.repositories.append(asked)
            return 200, {"url": f"{self.url}/{asked.get('organization', '')}/{asked['name']}"}
        found = REPOSITORY.fullmatch(path)
        assert found, path
        if found[3] == "preupload":
            files = json.loads(body)["files"]
            return 200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.files[found[2]][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        return 200, {"commitUrl": f"{self.url}/{found[2]}/commit/0", "commitOid": "0" * 40}

    def _validate(self, card: str) -> tuple[int, Any]:
        """Check a card's metadata as the hub does."""
        self.cards.append(card)
        front = card.split("---\n")[1]
        try:
            data = yaml.safe_load(front)
            wrong = [] if isinstance(data, dict) else ["the metadata is no mapping"]
        except yaml.YAMLError as error:
            wrong = [str(error)]
        found = {"errors": [{"message": line} for line in wrong], "warnings": []}
        return (400 if wrong else 200), found

"""A model hub on loopback: as much of the Hugging Face hub's protocol as a download takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GATED = "owner/gated"


@contextmanager
def hub(models: dict[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """Serves folders as models by their names; yields its URL, and the files that were asked for so far."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            words = urlsplit(self.path).path.strip("/").split("/")
            api = words[:2] == ["api", "models"]
            name = "/".join(words[2:4] if api else words[:2])
            rest = words[4:] if api else words[2:]
            if name == GATED:
                self._answer(403, b"", {"X-Error-Code": "GatedRepo"})
            elif name not in models:
                self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            elif api and rest[:1] == ["revision"]:
                if rest[1] in ("main", "v1"):
                    self._answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": []}).encode())
                else:
                    self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
            elif api and rest[:1] == ["tree"]:
                files = sorted(models[name].iterdir())
                tree = [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": _id(f)} for f in files
                ]
                self._answer(200, json.dumps(tree).encode())
            elif rest[:2] == ["resolve", COMMIT]:
                file = models[name] / rest[2]
                if self.command == "GET":
                    asked.append(rest[2])
                self._answer(200, file.read_bytes(), {"ETag": f'"{_id(file)}"', "X-Repo-Commit": COMMIT})
            else:
                self._answer(404, b"")

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _id(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()

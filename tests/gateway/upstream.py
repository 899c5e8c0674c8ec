"""An OpenAI upstream that behaves as a test tells it: dribbles, hangs. For what no provider's double would do."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DRIBBLE_SECONDS = 0.2


class Upstream:
    """`calls` counts requests, `hung_up` those whose caller left before the end."""

    def __init__(self) -> None:
        self.calls = 0
        self.hung_up = threading.Semaphore(0)

    @contextmanager
    def running(self):
        """The base URL, as LiteLLM's OpenAI `api_base` wants it."""
        handler = type("Handler", (_Handler,), {"upstream": self})
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_address[1]}/v1"
            finally:
                server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """What the first word of the last message asks for: `dribble`, `hang`, `cut`, anything else a short answer."""

    upstream: Upstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.upstream.calls += 1
        asked = str(body["messages"][-1]["content"]).split(maxsplit=1)[0]
        with suppress(BrokenPipeError, ConnectionResetError):
            if asked == "hang":
                self._wait_for_hang_up()
            elif asked == "dribble" and body.get("stream"):
                self._dribble(b"text/event-stream", [self._chunk(body["model"])] * 1000)
            elif asked == "cut":
                self._dribble(b"text/event-stream", [self._chunk(body["model"])] * 3, length=100_000)
            elif asked == "dribble":
                self._dribble(b"application/json", [b" "] * 1000)
            else:
                self._answer(body["model"])
            return
        self.upstream.hung_up.release()

    def _dribble(self, content_type: bytes, pieces: list[bytes], length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type.decode())
        if length is not None:
            self.send_header("content-length", str(length))  # more than is sent: the end comes too early
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(DRIBBLE_SECONDS)

    def _wait_for_hang_up(self) -> None:
        self.connection.settimeout(60)
        if self.connection.recv(1) == b"":
            raise BrokenPipeError

    def _answer(self, model: str) -> None:
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}
        answer: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": model}
        raw = json.dumps({**answer, "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    @staticmethod
    def _chunk(model: str) -> bytes:
        choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def log_message(self, format: str, *args: Any) -> None:
        """No line per request on stderr."""

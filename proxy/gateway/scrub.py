"""Takes tracebacks and file paths out of what a client gets to read. Pure functions; used by replies.py."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

_TRACEBACK = "Traceback (most recent call last):"
_BETWEEN_TRACEBACKS = ("During handling of the above", "The above exception was")
_LINE_BREAK = re.compile(r"\r?\n|\\n")  # also one written out by repr()
_FRAME = re.compile(r'File \\?"[^"\n]*\\?", line \d+(?:, in [\w<>.]+)?')
_FRAME_IN_JSON = re.compile(rb'File \\"[^"\n]+\\", line \d')
_SOURCE = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?(?:[/\\]+[\w.@+~-]+)+\.(?:py|pyc|so|ya?ml|json|prisma|sock|log|env)\b")


class Scrubber:
    """`roots` are folders whose every path is taken out: the installation, the home, the state folder."""

    def __init__(self, roots: Iterable[str]) -> None:
        wanted = sorted({root.rstrip("/") for root in roots if len(root.rstrip("/")) > 1}, key=len, reverse=True)
        self._roots = re.compile(rf"(?:{'|'.join(map(re.escape, wanted))})(?:/[\w.@+~-]+)*") if wanted else None

    def text(self, text: str) -> str:
        """The text without tracebacks and paths; what the error said is kept."""
        if _TRACEBACK in text:
            text = _without_tracebacks(text)
        text = _FRAME.sub("", text)
        if self._roots:
            text = self._roots.sub("<path>", text)
        return _SOURCE.sub("<path>", text)

    def error(self, body: bytes) -> bytes:
        """An error's body: JSON, or else text. Returned as it was when there is nothing to take out."""
        if b"/" not in body and b"Traceback" not in body:
            return body
        return self._changed(body, self.text)

    def data(self, body: bytes) -> bytes:
        """A JSON answer that is no error, such as a page of LiteLLM's spend log: tracebacks go, all else stays."""
        if b"Traceback (most" not in body and b", line " not in body:
            return body
        return self._changed(body, self._traceback)

    def _traceback(self, text: str) -> str:
        return self.text(text) if _TRACEBACK in text or _FRAME.search(text) else text

    def _changed(self, body: bytes, change: Callable[[str], str]) -> bytes:
        text = body.decode("utf-8", "replace")
        try:
            value = json.loads(text)
        except ValueError:
            changed = change(text)
            return body if changed == text else changed.encode()
        changed_value = _map_strings(value, change)
        return body if changed_value == value else json.dumps(changed_value).encode()

    def events(self, chunk: bytes) -> bytes:
        """A piece of an event stream: only events that are errors are touched, never what a model said."""
        if b'"error"' not in chunk or (b"Traceback" not in chunk and b"/" not in chunk):
            return chunk
        return b"\n".join(self._event_line(line) for line in chunk.split(b"\n"))

    def _event_line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:"):
            return line
        try:
            value = json.loads(line[5:])
        except ValueError:
            return line
        if not isinstance(value, dict):
            return line
        response = value.get("response")
        if value.get("error") or (isinstance(response, dict) and response.get("error")):
            return b"data: " + self.error(line[5:].strip())
        return line


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    if isinstance(value, dict):
        # LiteLLM logs the frames of a failed request under this name
        return {key: "" if key == "traceback" else _map_strings(item, change) for key, item in value.items()}
    return value


def _without_tracebacks(text: str) -> str:
    """Drops the frames, keeps the exceptions' own lines and what stands around them."""
    kept: list[str] = []
    in_frames = False
    for line in _LINE_BREAK.split(text):
        before, marker, _ = line.partition(_TRACEBACK)
        if marker:
            in_frames = True
            kept.append(before.removesuffix("stack trace: ").rstrip())
        elif in_frames and line[:1].isspace():
            continue
        elif not line.startswith(_BETWEEN_TRACEBACKS):
            in_frames = False
            kept.append(line)
    return "\n".join(line for line in kept if line)

"""An answer's body as it went over the wire -> what the journal shows of it. Used when the journal is read."""

from __future__ import annotations

from typing import Any

import orjson


def shown_answer(raw: bytes, chunks: int | None) -> dict[str, Any]:
    """The body (JSON where it is, else text), the number of a stream's `chunks`, None for a reply in one piece, and
    why the provider says that it ended, in its own word (None: it does not)."""
    body = _json(raw)
    finish = _finish(body) if body is not None else _stream_finish(raw)
    return {"body": raw.decode("utf-8", "replace") if body is None else body, "chunks": chunks, "finish": finish}


def _stream_finish(raw: bytes) -> str | None:
    """The last finish reason in a stream's events."""
    for line in reversed(raw.splitlines()):
        if line.startswith(b"data: ") and (found := _finish(_json(line[6:]))):
            return found
    return None


def _finish(value: Any) -> str | None:
    if isinstance(value, list):  # Gemini's stream as a JSON array
        return next((found for one in reversed(value) if (found := _finish(one))), None)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("response"), dict):  # an event of OpenAI's responses
        value = value["response"]
    if value.get("object") == "response":
        return _text(value.get("status"))
    delta = value.get("delta")
    first = next(iter(value.get("choices") or value.get("candidates") or ()), None)
    for place, name in (
        (first, "finish_reason"),
        (first, "finishReason"),
        (value, "stop_reason"),
        (delta, "stop_reason"),
    ):
        found = _text(place.get(name)) if isinstance(place, dict) else None
        if found:
            return found
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None

"""Bytes <-> how a cassette writes them. What is written gives the same bytes again, or it is written another way.

Pure. The recorder writes with `of_body` and `of_chunks`, replay reads with `body_bytes` and `chunk_bytes`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, get_args

from proxy.simulator.cassettes.model import Chunk, Request, Response, Style

STYLES: tuple[Style, ...] = get_args(Style)
_LAYOUTS: dict[str, dict[str, Any]] = {
    "compact": {"separators": (",", ":")},  # Anthropic's
    "spaced": {"separators": (", ", ": ")},
    "colon": {"separators": (",", ": ")},  # Gemini's events
    "indented": {"indent": 2},  # Gemini's and OpenAI's bodies
}
_ENDS = {"lf": "\n", "crlf": "\r\n"}
_DEEPEST = 200  # levels of JSON that are written out as YAML

# One event: an optional name, one line of data, a blank line.
_EVENT = re.compile(r"(?:event: (?P<event>[^\r\n]*)(?P<e1>\r?\n))?data: (?P<data>[^\r\n]*)(?P<e2>\r?\n)(?P<e3>\r?\n)")
_PADDED = re.compile(r"(?P<before>.*[^ ])(?P<padding> +)\}", re.DOTALL)


class Unwritable(ValueError):
    """No JSON, or JSON that does not come back from YAML the same."""


def parse_json(text: str) -> Any:
    """The JSON as plain data. Raises Unwritable."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        _check(value, 0)
    except (ValueError, RecursionError) as error:
        raise Unwritable(str(error)) from None
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _check(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        value.encode()  # a lone surrogate has no UTF-8
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):  # 1e999
            raise ValueError("no finite number")
    elif isinstance(value, dict):
        for key, part in value.items():
            key.encode()
            _check(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check(part, depth + 1)


def write_json(value: Any, style: Style) -> str:
    layout, _, escapes = style.partition("-")
    return json.dumps(value, ensure_ascii=escapes == "ascii", **_LAYOUTS[layout])


def style_of(text: str, value: Any, first: Style = "compact") -> Style | None:
    """The style in which `value` is written as `text`, `first` looked at first; None where it is none."""
    for style in (first, *(style for style in STYLES if style != first)):
        if write_json(value, style) == text:
            return style
    return None


# -- writing -------------------------------------------------------------------------------------------------


def of_request(raw: bytes) -> dict[str, Any]:
    """A request's body, as fields of `Request`. Its JSON need not come back byte for byte: it is compared as JSON."""
    if not raw:
        return {}
    try:
        return {"json": parse_json(raw.decode())}
    except ValueError:
        return _plain(raw)


def of_body(raw: bytes) -> dict[str, Any]:
    """A body in one piece, as fields of `Response`."""
    if not raw:
        return {}
    try:
        text = raw.decode()
        bare = text.rstrip("\r\n")
        value = parse_json(bare)
    except ValueError:
        return _plain(raw)
    style = style_of(bare, value)
    if style is None:
        return _plain(raw)
    return {"style": style, "ending": text[len(bare) :], "json": value}


def of_chunks(pieces: Sequence[tuple[float, bytes]]) -> dict[str, Any]:
    """The chunks of a stream, (seconds since the one before, bytes) each, as fields of `Response`."""
    newline = "crlf" if any(piece.endswith(b"\r\n\r\n") for _, piece in pieces) else "lf"
    style: Style = "compact"
    decided = False
    chunks = []
    for after, piece in pieces:
        fields, found = _of_chunk(piece, _ENDS[newline], style)
        if found is not None:
            if not decided:
                style, decided = found, True
            elif found != style:
                fields = {"style": found, **fields}
        chunks.append({"after": round(after, 4), **fields})
    return {"style": style, "newline": newline, "chunks": chunks}


def _of_chunk(piece: bytes, end: str, style: Style) -> tuple[dict[str, Any], Style | None]:
    try:
        found = _EVENT.fullmatch(piece.decode())
    except ValueError:
        found = None
    if found is None or {found["e2"], found["e3"], found["e1"] or end} != {end}:
        return _plain(piece), None
    name = {} if found["event"] is None else {"event": found["event"]}
    data = found["data"]
    padded = _PADDED.fullmatch(data)
    bare = padded["before"] + "}" if padded else data
    try:
        value = parse_json(bare)
    except ValueError:
        return {**name, "data": data}, None
    written = style_of(bare, value, style)
    if written is None:
        return {**name, "data": data}, None
    padding = {"padding": len(padded["padding"])} if padded else {}
    return {**name, **padding, "json": value}, written


def _plain(raw: bytes) -> dict[str, Any]:
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


# -- reading -------------------------------------------------------------------------------------------------


def body_bytes(response: Response) -> bytes:
    """The body in one piece."""
    if "json_" in response.model_fields_set:
        return (write_json(response.json_, response.style) + response.ending).encode()
    return _plain_bytes(response.text, response.base64)


def request_bytes(request: Request) -> bytes:
    """A body that stands for the recorded one: JSON spaced our way."""
    if "json_" in request.model_fields_set:
        return write_json(request.json_, "compact").encode()
    return _plain_bytes(request.text, request.base64)


def chunk_bytes(response: Response, chunk: Chunk) -> bytes:
    if "json_" in chunk.model_fields_set:
        data = write_json(chunk.json_, chunk.style or response.style)
        if chunk.padding:
            data = data[:-1] + " " * chunk.padding + data[-1:]
    elif chunk.data is not None:
        data = chunk.data
    else:
        return _plain_bytes(chunk.text, chunk.base64)
    end = _ENDS[response.newline]
    name = f"event: {chunk.event}{end}" if chunk.event is not None else ""
    return f"{name}data: {data}{end}{end}".encode()


def _plain_bytes(text: str | None, encoded: str | None) -> bytes:
    return text.encode() if text is not None else base64.b64decode(encoded or "")

"""The body guard: size, JSON, shape and overrides, all before LiteLLM sees the request.

A body is read once, at most up to the limit, checked, and handed on whole. LiteLLM alone takes a 50 MB body
into 789 MB of memory and answers malformed ones with 500 after retries and fallbacks.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.gateway.errors import Refusal, send_refusal
from proxy.gateway.overrides import Overrides
from proxy.gateway.routes import Api, api_of, dialect_of, names_model
from proxy.gateway.shapes import check_shape

_FORM = "multipart/form-data"
_FORMS = (_FORM, "application/x-www-form-urlencoded")


class BodyGuard:
    """ASGI middleware: answers 413 and 400 itself, passes everything else on."""

    def __init__(self, app: ASGIApp, *, overrides: Overrides, max_body_mb: float, max_nesting: int) -> None:
        self.app = app
        self._overrides = overrides
        self._max_body_mb = max_body_mb
        self._max_bytes = int(max_body_mb * 1024 * 1024)
        self._max_nesting = max_nesting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            if body is None:
                return  # the client went away before it had sent all
            self._check(scope, body)
        except Refusal as refusal:
            await send_refusal(send, refusal, dialect_of(scope["path"]))
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        length = declared_length(scope)
        if length == 0:
            return b""
        if length is not None and length > self._max_bytes:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _check(self, scope: Scope, body: bytes) -> None:
        api = api_of(scope["path"])
        if api is Api.RAW or scope["method"] not in ("POST", "PUT", "PATCH"):
            return
        media = _media_type(scope)
        if api.is_model_api:
            self._overrides.check_headers(scope["headers"])
        if media in _FORMS and not api.has_shape:
            if api.is_model_api:
                self._check_form(media, body)
            return
        if api.has_shape or (body and _says_json(media)):
            self._check_json(api, scope["path"], media, body)

    def _check_json(self, api: Api, path: str, media: str, body: bytes) -> None:
        if media in _FORMS:
            raise Refusal(400, f"The body is sent as {media}; send JSON with the header Content-Type: application/json")
        value = self._parse(body)
        if not isinstance(value, dict):
            raise Refusal(400, f"The body must be a JSON object, not {_json_name(value)}", code="invalid_type")
        if api.is_model_api:
            self._overrides.check_body(value)
            check_shape(api, value, model_in_path=names_model(path))

    def _parse(self, body: bytes) -> Any:
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if "depth" in error.msg or "ecursion" in error.msg:  # orjson's own limit, far above ours
                raise self._too_deep() from None
            raise Refusal(400, f"The body is not valid JSON: {error}", code="invalid_json") from None
        if body.count(b"[") + body.count(b"{") > self._max_nesting and is_deeper(value, self._max_nesting):
            raise self._too_deep()
        return value

    def _check_form(self, media: str, body: bytes) -> None:
        if media != _FORM:
            raise Refusal(400, f"The body is sent as {media}; model APIs take JSON or {_FORM}")
        self._overrides.check_form(body)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"The body is larger than the limit of {self._max_body_mb:g} MB", code="request_too_large")

    def _too_deep(self) -> Refusal:
        return Refusal(400, f"The body is nested more than {self._max_nesting} levels deep", code="nesting_too_deep")


def declared_length(scope: Scope) -> int | None:
    """The body's length in bytes: 0 when none is announced, None when it is sent in chunks."""
    length = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length" and value.isdigit():
            length = int(value)
    return length


def is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects nest more than `levels` deep; breadth first, so that depth costs no stack."""
    containers = [value] if isinstance(value, (dict, list)) else []
    for _ in range(levels):
        containers = [
            child
            for container in containers
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not containers:
            return False
    return bool(containers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hands the whole body on as one message; what follows (the disconnect) comes from the server."""
    pending: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal pending
        if pending is not None:
            message, pending = pending, None
            return message
        return await receive()

    return replay


def _media_type(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return str(value.decode("latin-1").split(";", 1)[0].strip().lower())
    return ""


def _says_json(media: str) -> bool:
    """LiteLLM parses these as JSON on every route."""
    return media in ("", "application/json", "text/plain") or media.endswith("+json")


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a string", list: "an array"}
    return names.get(type(value), "a number")

"""The simulator as an ASGI application: provider calls here, everything else to control.py.

Provider calls skip the router and its middleware, for they are what load tests send by the thousand. Served by
server.py, whose connections can be broken off (`server.Connection`), as faults need.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from proxy.simulator.control import control_app
from proxy.simulator.faults import Fault, FaultBook
from proxy.simulator.journal import Entry, Journal
from proxy.simulator.providers import anthropic, gemini, openai, openai_responses
from proxy.simulator.providers.wire import Answer, Call, Provider, ProviderError
from proxy.simulator.replies.reply import compose
from proxy.simulator.replies.schema_instance import NoInstance
from proxy.simulator.server import Connection

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes; beyond it the provider's 413."""

RESPONSE_PATH = re.compile(r"/openai/v1/responses/([^/]+)")
GEMINI_PATH = re.compile(r"/gemini/v1(?:beta)?/models/([^/]+):(generateContent|streamGenerateContent)")

OPENAI: Provider = openai
RESPONSES: Provider = openai_responses
ANTHROPIC: Provider = anthropic
GEMINI: Provider = gemini

READING_SECONDS = 0.05  # between the last chunk of a stream that is cut and its end


class ClientGone(Exception):
    """The client closed the connection before the answer was out."""


class Simulator:
    def __init__(self, control_key: str | None = None) -> None:
        self.faults = FaultBook()
        self.journal = Journal()
        self._control = control_app(self.faults, self.journal, control_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        path, post = scope["path"], scope["method"] == "POST"
        if post and path == "/openai/v1/chat/completions":
            await self._provider_call(OPENAI, scope, receive, send)
        elif post and path == "/openai/v1/responses":
            await self._provider_call(RESPONSES, scope, receive, send)
        elif post and path == "/anthropic/v1/messages":
            await self._provider_call(ANTHROPIC, scope, receive, send)
        elif post and GEMINI_PATH.fullmatch(path):
            await self._provider_call(GEMINI, scope, receive, send)
        elif not post and path == "/openai/v1/models":
            await Exchange(OPENAI, scope, receive, send).tell(openai.models)
        elif scope["method"] in openai_responses.LOOKED_UP and (found := RESPONSE_PATH.fullmatch(path)):
            look = openai_responses.LOOKED_UP[scope["method"]]
            await Exchange(OPENAI, scope, receive, send).tell(lambda: look(found[1]))
        else:
            await self._control(scope, receive, send)

    async def _provider_call(self, provider: Provider, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(provider, scope, receive, send)
        entry = self.journal.begin(provider.NAME, scope["headers"])
        outcome = "error"
        try:
            too_large = await exchange.read_body()
            call = exchange.call
            self.journal.keep_body(entry, call.raw)
            entry.model, entry.stream = call.model, call.stream
            fault = self.faults.take(provider.NAME, call.model)
            if fault is not None:
                entry.outcome = f"fault:{fault.kind}"
            if await exchange.answer(entry, fault, too_large):
                outcome = "ok"
        except ClientGone:
            pass
        finally:
            entry.end(outcome)


class Exchange:
    """One request to a provider and its answer, faults included."""

    def __init__(self, provider: Provider, scope: Scope, receive: Receive, send: Send) -> None:
        self.provider = provider
        self.scope = scope
        self.receive = receive
        self.send = send
        self.began = time.perf_counter()
        self.call = Call(dict(scope["headers"]), scope["query_string"], b"", os.urandom(16).hex())
        self.connection: Connection = scope["state"]["connection"]

    async def tell(self, what: Callable[[], Answer]) -> None:
        """Answers what asks no model, such as the list of models."""
        try:
            self.provider.authorise(self.call)
            await self.send_answer(what())
        except ProviderError as error:
            await self.send_answer(error.answer)

    async def read_body(self) -> bool:
        """Reads the request and what it says of model and streaming; True where it is too large to be kept."""
        parts, size = [], 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            size += len(message["body"])
            if size <= LARGEST_BODY:
                parts.append(message["body"])
            if not message.get("more_body"):
                break
        call = self.call
        call.raw = b"".join(parts) if size <= LARGEST_BODY else b""
        try:
            call.body = orjson.loads(call.raw)
        except orjson.JSONDecodeError:
            call.body = None
        fields: dict[str, Any] = call.body if isinstance(call.body, dict) else {}
        gemini_path = GEMINI_PATH.fullmatch(self.scope["path"])
        if gemini_path is not None:
            call.model = gemini_path[1]
            call.stream = gemini_path[2] == "streamGenerateContent"
            call.sse = b"alt=sse" in call.query
        else:
            model = fields.get("model")
            call.model = model if isinstance(model, str) else None
            call.stream = fields.get("stream") is True
        return size > LARGEST_BODY

    async def answer(self, entry: Entry, fault: Fault | None, too_large: bool) -> bool:
        """Answers; whether the request was served as one without mistakes would be."""
        kind = fault.kind if fault is not None else None
        if fault is not None and not (self.call.stream and fault.after_chunks) and kind not in ("cut", "malformed"):
            if await self.strike(entry, fault):
                return False
            fault, kind = None, None
        result = self.provider.error(self.call, 413, None) if too_large else self.result()
        if isinstance(result, list):
            entry.status = 200
            await self.send_stream(result, fault)
        elif kind == "malformed":
            broken = Answer(200, result.body[: len(result.body) // 2], result.content_type)
            entry.status = 200
            await self.send_answer(broken)
        else:
            entry.status = result.status
            await self.send_answer(result, cut=kind == "cut")
        return isinstance(result, list) or result.status == 200

    def result(self) -> Answer | list[bytes]:
        """What the provider answers: in one piece, or the events of a stream."""
        provider, call = self.provider, self.call
        try:
            provider.authorise(call)
            prompt = provider.read(call)
            try:
                reply = compose(prompt)
            except NoInstance as error:
                raise provider.schema_error(prompt, str(error)) from error
            if call.stream:
                return provider.stream(call, prompt, reply)
            return provider.write(call, prompt, reply)
        except ProviderError as error:
            return error.answer
        except RecursionError:  # nested as deep as JSON may be, which no provider takes
            return provider.error(call, 400, None)

    async def strike(self, entry: Entry, fault: Fault) -> bool:
        """A fault before any answer; whether that was the end of it."""
        if fault.kind == "delay":
            await self.wait(fault.seconds)
            return False
        if fault.kind == "status" and fault.status is not None:
            entry.status = fault.status
            await self.send_answer(self.provider.error(self.call, fault.status, fault.retry_after))
        elif fault.kind == "hang":
            await self.wait(None)
        else:
            self.connection.reset()
            await self.gone()
        return True

    async def send_stream(self, events: list[bytes], fault: Fault | None) -> None:
        await self.start(200, self.provider.stream_type(self.call), [])
        if fault is not None:
            # A stream is never let finish first: the last event stays out.
            before = fault.after_chunks if fault.after_chunks is not None else int(fault.kind == "cut")
            before = min(before, len(events) - 1)
            self.call.sent = before
            await self.send({"type": "http.response.body", "body": b"".join(events[:before]), "more_body": True})
            if await self.strike_stream(fault):
                return
            events = events[before:]
        # Nothing sets them apart in time, so the events leave together.
        await self.send({"type": "http.response.body", "body": b"".join(events)})

    async def strike_stream(self, fault: Fault) -> bool:
        """A fault within a stream; whether it ended the stream."""
        if fault.kind == "delay":
            await self.wait(fault.seconds)
            return False
        if fault.kind == "hang":
            await self.wait(None)
        if fault.kind == "cut":
            # Clients drop what they have not read when they see the end: give them the chunks first.
            await self.wait(READING_SECONDS)
            self.connection.close()
            await self.gone()
            return True
        status = fault.status or 500
        malformed = fault.kind == "malformed"
        last = self.provider.broken_event(self.call) if malformed else self.provider.error_event(self.call, status)
        await self.send({"type": "http.response.body", "body": last})
        return True

    async def send_answer(self, answer: Answer, cut: bool = False) -> None:
        length = (b"content-length", b"%d" % len(answer.body))
        await self.start(answer.status, answer.content_type, [length, *answer.headers])
        if not cut:
            await self.send({"type": "http.response.body", "body": answer.body})
            return
        half = answer.body[: len(answer.body) // 2]
        await self.send({"type": "http.response.body", "body": half, "more_body": True})
        self.connection.close()
        await self.gone()

    async def start(self, status: int, content_type: bytes, extra: list[tuple[bytes, bytes]]) -> None:
        elapsed_ms = round((time.perf_counter() - self.began) * 1000)
        headers = [(b"content-type", content_type), *extra, *self.provider.headers(self.call, elapsed_ms)]
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        await self.send(start)

    async def wait(self, seconds: float | None) -> None:
        """Waits, for ever with None. Raises ClientGone as soon as the client goes."""
        try:
            await asyncio.wait_for(self.gone(), seconds)
        except asyncio.TimeoutError:
            return
        raise ClientGone

    async def gone(self) -> None:
        """Until the connection is closed, by either side."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

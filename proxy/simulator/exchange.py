"""One request to a provider and its answer, faults included. Driven by app.py.

What can be answered without waiting is answered at once (`at_once`); the rest is carried out in a task of its own
(`carry_out`), over ASGI.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.types import Message, Receive, Send

from proxy.simulator.cassettes.model import Exchange as Recorded
from proxy.simulator.cassettes.play import play
from proxy.simulator.journal import Entry
from proxy.simulator.providers.wire import Answer, Call, Headers, Provider, ProviderError
from proxy.simulator.replies import pacing
from proxy.simulator.replies.reply import compose
from proxy.simulator.replies.schema_instance import NoInstance
from proxy.simulator.script.book import NOTHING
from proxy.simulator.script.model import Fault
from proxy.simulator.server import Connection, Request, Whole

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes; beyond it the provider's 413."""

READING_SECONDS = 0.5
"""Between the last bytes of an answer that breaks off and its end: clients, which may be busy, drop what they have not
read when they see the end."""

IDS = random.Random()  # noqa: S311 - they only have to differ


class ClientGone(Exception):
    """The client closed the connection before the answer was out."""


class Pace:
    """When the events of a stream are due, from now on; being late with one does not put off the rest."""

    def __init__(self, waits: list[float]) -> None:
        self._waits = iter(waits)
        self._due = time.monotonic()

    def resume(self) -> None:
        """Counts from now what is still to come, after a pause that was meant."""
        self._due = max(self._due, time.monotonic())

    def until_next(self) -> float:
        """Seconds until the next event is due; none left or below 0: it is."""
        self._due += next(self._waits, 0.0)
        return self._due - time.monotonic()


class Exchange:
    """`verdict` is the script's, `said` what the double itself says to it, `recorded` what a cassette has: whoever
    drives an exchange settles one of them once the request is read. `outcome` is the journal's, as far as it is known.
    """

    verdict = NOTHING
    said: Answer | None = None
    recorded: Recorded | None = None
    paced = False
    too_large = False
    outcome = "error"
    receive: Receive
    send: Send

    def __init__(
        self, provider: Provider, request: Request, entry: Entry, headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        self.provider = provider
        self.entry = entry
        self.began = time.perf_counter()
        self.call = Call(headers or dict(request.headers), request.query, b"", f"{IDS.getrandbits(128):032x}")
        self.connection: Connection = request.connection

    # -- reading -----------------------------------------------------------------------------------------

    async def read_body(self) -> bytes:
        """The whole body, or nothing where it is too large to be kept."""
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
        self.too_large = size > LARGEST_BODY
        return b"" if self.too_large else b"".join(parts)

    def take_body(self, raw: bytes, model: str | None, stream: bool) -> None:
        """Reads what the request says of model and streaming, unless its path does: `model`, `stream`."""
        call = self.call
        call.raw = raw
        try:
            call.body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            call.body = None
        if model is not None:
            call.model, call.stream, call.sse = model, stream, b"alt=sse" in call.query
            return
        fields: dict[str, Any] = call.body if isinstance(call.body, dict) else {}
        named = fields.get("model")
        call.model = named if isinstance(named, str) else None
        call.stream = fields.get("stream") is True

    def refuse(self, message: str, code: str) -> None:
        """The double's own refusal, as the provider's 400."""
        self.said = self.provider.error(self.call, 400, None, message=message, code=code)

    # -- answering ---------------------------------------------------------------------------------------

    def at_once(self) -> Whole | None:
        """The answer, where nothing in it waits, is broken off or is spoilt."""
        reply, fault = self.verdict.reply, self.verdict.fault
        if self.recorded is not None or (reply is not None and reply.timing is not None):
            return None
        if (answer := self.said) is None:
            if fault is None:
                result, _ = self.result()
            elif (struck := self.struck(fault)) is not None:
                result = struck
            else:
                return None
            if isinstance(result, list):
                return self._streamed(result)
            answer = result
            if fault is None and answer.status == 200:
                self.outcome = "ok"
        headers = [(b"content-type", answer.content_type), *answer.headers, *self.own_headers()]
        entry = self.entry
        entry.status, entry.first_byte_at = answer.status, time.time()
        entry.sent.append(answer.body)
        return Whole(answer.status, headers, answer.body)

    def _streamed(self, events: list[bytes]) -> Whole:
        self.outcome = "ok"
        body = b"".join(events)
        entry = self.entry
        entry.status, entry.first_byte_at, entry.chunks = 200, time.time(), len(events)
        entry.sent.append(body)
        headers = [(b"content-type", self.provider.stream_type(self.call)), *self.own_headers()]
        return Whole(200, headers, body, chunked=True)

    async def carry_out(self) -> None:
        """Sends the answer, in its time and with its faults. Raises ClientGone."""
        if self.recorded is not None:
            self.outcome = "replay"
            self.entry.outcome = "replay"
            await play(self, self.recorded, paced=self.paced)
        elif self.said is not None:
            await self.send_answer(self.said)
        else:
            await self._answer()

    async def _answer(self) -> None:
        fault, reply = self.verdict.fault, self.verdict.reply
        if fault is not None and (said := self.struck(fault)) is not None:
            await self.send_answer(said)
            return
        if fault is not None and not self._within(fault) and fault.kind not in ("cut", "malformed"):
            if await self.strike(fault):
                return
            fault = None
        result, tokens = self.result()
        timing = reply.timing if reply is not None else None
        if isinstance(result, list):
            waits = pacing.schedule(timing, len(result), tokens) if timing is not None else None
            await self.send_stream(result, fault, waits)
        else:
            if timing is not None and result.status == 200:
                await self.wait(pacing.whole(timing, tokens))
            if fault is not None and fault.kind == "malformed":
                result = Answer(200, result.body[: len(result.body) // 2], result.content_type)
            await self.send_answer(result, cut=fault is not None and fault.kind == "cut")
        if isinstance(result, list) or result.status == 200:
            self.outcome = "ok"

    def result(self) -> tuple[Answer | list[bytes], int]:
        """What the provider answers, in one piece or the events of a stream, and the tokens in it."""
        provider, call = self.provider, self.call
        if self.too_large:
            return provider.error(call, 413, None), 0
        try:
            provider.authorise(call)
            prompt = provider.read(call)
            try:
                reply = compose(prompt, self.verdict.reply)
            except NoInstance as error:
                raise provider.schema_error(prompt, str(error)) from error
            written = provider.stream(call, prompt, reply) if call.stream else provider.write(call, prompt, reply)
            return written, reply.completion_tokens
        except ProviderError as error:
            return error.answer, 0
        except RecursionError:  # nested as deep as JSON may be, which no provider takes
            return provider.error(call, 400, None), 0

    # -- faults ------------------------------------------------------------------------------------------

    def _within(self, fault: Fault) -> bool:
        """Whether a fault comes within a stream."""
        return self.call.stream and fault.after_chunks is not None

    def struck(self, fault: Fault) -> Answer | None:
        """What a fault says instead of any answer; None where it is another kind of fault."""
        self.entry.outcome = f"fault:{fault.kind}"
        if self._within(fault):
            return None
        if fault.kind == "status" and fault.status is not None:
            return self.provider.error(self.call, fault.status, fault.retry_after, fault.message)
        limit = self.verdict.limit
        if fault.kind == "rate_limit" and limit is not None:
            return self.provider.error(self.call, 429, math.ceil(limit.reset_seconds), limit=limit)
        return None

    async def strike(self, fault: Fault) -> bool:
        """A fault before any answer; whether that was the end of it."""
        if fault.kind == "delay":
            await self.wait(fault.seconds)
            return False
        if fault.kind == "hang":
            await self.wait(None)
        else:
            self.connection.reset()
            await self.gone()
        return True

    async def strike_stream(self, fault: Fault) -> bool:
        """A fault within a stream; whether it ended the stream."""
        if fault.kind == "delay":
            await self.wait(fault.seconds)
            return False
        if fault.kind == "hang":
            await self.wait(None)
        if fault.kind == "cut":
            await self.break_off()
            return True
        status = fault.status or 500
        if fault.kind == "malformed":
            last = self.provider.broken_event(self.call)
        else:
            last = self.provider.error_event(self.call, status, fault.message)
        await self.send_body(last, chunks=1)
        return True

    # -- sending -----------------------------------------------------------------------------------------

    async def send_stream(self, events: list[bytes], fault: Fault | None, waits: list[float] | None) -> None:
        await self.start(200, self.provider.stream_type(self.call), [])
        pace = Pace(waits) if waits is not None else None
        if fault is not None:
            # A stream is never let finish first: the last event stays out.
            before = fault.after_chunks if fault.after_chunks is not None else int(fault.kind == "cut")
            before = self.call.sent = min(before, len(events) - 1)
            await self.send_events(events[:before], pace)
            if await self.strike_stream(fault):
                return
            if pace is not None:
                pace.resume()
            events = events[before:]
        await self.send_events(events, pace, last=True)

    async def send_events(self, events: Sequence[bytes], pace: Pace | None = None, last: bool = False) -> None:
        """Sends a stream's events; together where nothing sets them apart in time."""
        if pace is None:
            if events or last:
                await self.send_body(b"".join(events), more=not last, chunks=len(events))
            return
        for number, event in enumerate(events, 1):
            left = pace.until_next()
            if left > 0:
                await self.wait(left)
            await self.send_body(event, more=not last or number < len(events), chunks=1)

    async def send_answer(self, answer: Answer, cut: bool = False) -> None:
        length = (b"content-length", b"%d" % len(answer.body))
        await self.start(answer.status, answer.content_type, [length, *answer.headers])
        if not cut:
            await self.send_body(answer.body)
            return
        await self.send_body(answer.body[: len(answer.body) // 2], more=True)
        self.connection.close()
        await self.gone()

    async def start(self, status: int, content_type: bytes, extra: Headers) -> None:
        await self.send_start(status, [(b"content-type", content_type), *extra, *self.own_headers()])

    def own_headers(self) -> Headers:
        """What the provider's every answer carries beside its content type."""
        elapsed_ms = round((time.perf_counter() - self.began) * 1000)
        return self.provider.headers(self.call, elapsed_ms, self.verdict.limit)

    async def send_start(self, status: int, headers: Headers) -> None:
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        self.entry.status = status
        self.entry.first_byte_at = time.time()
        await self.send(start)

    async def send_body(self, body: bytes, more: bool = False, chunks: int = 0) -> None:
        self.entry.sent.append(body)
        self.entry.chunks += chunks
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def wait(self, seconds: float | None) -> None:
        """Waits, for ever with None. Raises ClientGone as soon as the client goes."""
        try:
            await asyncio.wait_for(self.gone(), seconds)
        except asyncio.TimeoutError:
            return
        raise ClientGone

    async def break_off(self) -> None:
        """Ends the connection once what was sent can have been read."""
        await self.wait(READING_SECONDS)
        self.connection.close()
        await self.gone()

    async def gone(self) -> None:
        """Until the connection is closed, by either side."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

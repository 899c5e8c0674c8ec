"""The simulator as an ASGI application: provider calls here, everything else to control.py.

Provider calls skip the router and its middleware, for they are what load tests send by the thousand; and nothing is
done for rules where a scope has none. Served by server.py, whose connections can be broken off (`server.Connection`),
as faults need.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connected

from proxy.simulator.aliases import Aliases
from proxy.simulator.cassettes.play import play
from proxy.simulator.cassettes.replay import Miss, Player
from proxy.simulator.control import Control
from proxy.simulator.journal import Entry, Journal
from proxy.simulator.providers import anthropic, anthropic_threads, gemini, openai, openai_responses
from proxy.simulator.providers.wire import Answer, Call, Headers, LimitState, Provider, ProviderError
from proxy.simulator.replies import pacing
from proxy.simulator.replies.reply import compose
from proxy.simulator.replies.schema_instance import NoInstance
from proxy.simulator.scopes import REQUEST_HEADER, SCOPE_HEADER, BadScope, Scope, Scopes
from proxy.simulator.script import asked
from proxy.simulator.script.book import NOTHING, Verdict
from proxy.simulator.script.model import Fault
from proxy.simulator.server import Connection

LARGEST_BODY = 32 * 1024 * 1024
"""Bytes; beyond it the provider's 413."""

RESPONSE_PATH = re.compile(r"/openai/v1/responses/([^/]+)")
GEMINI_PATH = re.compile(r"/gemini/v1(?:beta)?/models/([^/]+):(generateContent|streamGenerateContent)")

OPENAI: Provider = openai
RESPONSES: Provider = openai_responses
ANTHROPIC: Provider = anthropic
GEMINI: Provider = gemini

NO_MATCH = "double_no_match"
BAD_SCOPE = "double_bad_scope"
CASSETTE_MISS = "double_cassette_miss"
"""What the double itself refuses with: the provider's 400, with this as its code."""

READING_SECONDS = 0.5  # for a busy client to read the last chunk of a stream before it is cut


class ClientGone(Exception):
    """The client closed the connection before the answer was out."""


class Simulator:
    """`aliases`: provider and upstream model -> the names that rules may also use for it."""

    def __init__(self, control_key: str | None = None, aliases: Aliases | None = None) -> None:
        self.journal = Journal()
        self.scopes = Scopes(self.journal, aliases)
        self._control = Control(self.scopes, control_key).app()

    async def __call__(self, connected: Connected, receive: Receive, send: Send) -> None:
        if connected["type"] != "http":
            await self._control(connected, receive, send)
            return
        path, post = connected["path"], connected["method"] == "POST"
        if post and path == "/openai/v1/chat/completions":
            await self._provider_call(OPENAI, "chat", connected, receive, send)
        elif post and path == "/openai/v1/responses":
            await self._provider_call(RESPONSES, "responses", connected, receive, send)
        elif post and path == "/anthropic/v1/messages":
            await self._provider_call(ANTHROPIC, "messages", connected, receive, send)
        elif post and GEMINI_PATH.fullmatch(path):
            await self._provider_call(GEMINI, "generateContent", connected, receive, send)
        elif not post and path == "/openai/v1/models":
            await Exchange(OPENAI, connected, receive, send).look_up(openai.models)
        elif connected["method"] in openai_responses.LOOK_UPS and (found := RESPONSE_PATH.fullmatch(path)):
            look_up = partial(openai_responses.LOOK_UPS[connected["method"]], found[1])
            await Exchange(RESPONSES, connected, receive, send).look_up(look_up)
        else:
            await self._control(connected, receive, send)

    async def _provider_call(
        self, provider: Provider, api: asked.Api, connected: Connected, receive: Receive, send: Send
    ) -> None:
        exchange = Exchange(provider, connected, receive, send)
        call = exchange.call
        scope, refused = self._scope(call)
        request_id = call.headers.get(REQUEST_HEADER)
        entry = exchange.entry = self.journal.begin(
            scope.name,
            provider.NAME,
            api,
            connected["headers"],
            request_id.decode("latin-1") if request_id is not None else None,
        )
        scope.calls += 1
        outcome = "error"
        try:
            too_large = await exchange.read_body()
            aliases = self.scopes.aliases.get((provider.NAME, call.model or ""), ())
            entry.model, entry.alias, entry.stream = call.model, aliases[0] if aliases else None, call.stream
            self.journal.keep_request(entry, call.raw)
            if api == "messages":
                anthropic_threads.resume(call)
            if refused is not None:
                await exchange.refuse(refused, BAD_SCOPE)
                return
            verdict = NOTHING
            if not scope.is_bare:
                seen = asked.read(api, call, aliases)
                verdict = scope.book.take(seen)
                if verdict.taker is not None:
                    entry.rule = verdict.taker.label
                elif (player := scope.player) is not None:
                    if await exchange.replay(player, api):
                        outcome = "replay"
                    return
                elif scope.book.strict:
                    entry.outcome = "no match"
                    await exchange.refuse(scope.unmatched(seen), NO_MATCH)
                    return
            if await exchange.answer(verdict, too_large):
                outcome = "ok"
        except ClientGone:
            pass
        finally:
            self.journal.end(entry, outcome)

    def _scope(self, call: Call) -> tuple[Scope, str | None]:
        """The scope that a call names; where it cannot be one, `default`, and what is wrong."""
        name = call.headers.get(SCOPE_HEADER)
        if name is None:
            return self.scopes.default, None
        try:
            return self.scopes.named(name.decode("latin-1")), None
        except BadScope as error:
            return self.scopes.default, str(error)


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
    """One request to a provider and its answer, faults included."""

    entry: Entry | None = None

    def __init__(self, provider: Provider, connected: Connected, receive: Receive, send: Send) -> None:
        self.provider = provider
        self.connected = connected
        self.receive = receive
        self.send = send
        self.began = time.perf_counter()
        self.call = Call(dict(connected["headers"]), connected["query_string"], b"", os.urandom(16).hex())
        self.connection: Connection = connected["state"]["connection"]
        self.limit: LimitState | None = None

    async def look_up(self, find: Callable[[], Answer]) -> None:
        """Answers what asks no model."""
        try:
            self.provider.authorise(self.call)
            await self.send_answer(find())
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
        gemini_path = GEMINI_PATH.fullmatch(self.connected["path"])
        if gemini_path is not None:
            call.model = gemini_path[1]
            call.stream = gemini_path[2] == "streamGenerateContent"
            call.sse = b"alt=sse" in call.query
        else:
            model = fields.get("model")
            call.model = model if isinstance(model, str) else None
            call.stream = fields.get("stream") is True
        return size > LARGEST_BODY

    # -- answering ---------------------------------------------------------------------------------------

    async def refuse(self, message: str, code: str) -> None:
        """The double's own refusal, as the provider's 400."""
        await self.send_answer(self.provider.error(self.call, 400, None, message=message, code=code))

    async def replay(self, player: Player, api: str) -> bool:
        """Answers from a cassette; whether the request is in it."""
        try:
            recorded = player.take(self.provider.NAME, api, self.call)
        except Miss as miss:
            if self.entry is not None:
                self.entry.outcome = "no match"
            await self.refuse(str(miss), CASSETTE_MISS)
            return False
        if self.entry is not None:
            self.entry.outcome = "replay"
        await play(self, recorded, paced=player.timing == "recorded")
        return True

    async def answer(self, verdict: Verdict, too_large: bool) -> bool:
        """Answers; whether the request was served as one without mistakes would be."""
        fault, self.limit = verdict.fault, verdict.limit
        if fault is not None:
            if self.entry is not None:
                self.entry.outcome = f"fault:{fault.kind}"
            within = self.call.stream and fault.after_chunks is not None
            if not within and fault.kind not in ("cut", "malformed"):
                if await self.strike(fault):
                    return False
                fault = None
        result, tokens = (self.provider.error(self.call, 413, None), 0) if too_large else self.result(verdict)
        timing = verdict.reply.timing if verdict.reply is not None else None
        if isinstance(result, list):
            waits = pacing.schedule(timing, len(result), tokens) if timing is not None else None
            await self.send_stream(result, fault, waits)
        else:
            if timing is not None and result.status == 200:
                await self.wait(pacing.whole(timing, tokens))
            if fault is not None and fault.kind == "malformed":
                result = Answer(200, result.body[: len(result.body) // 2], result.content_type)
            await self.send_answer(result, cut=fault is not None and fault.kind == "cut")
        return isinstance(result, list) or result.status == 200

    def result(self, verdict: Verdict) -> tuple[Answer | list[bytes], int]:
        """What the provider answers, in one piece or the events of a stream, and the tokens in it."""
        provider, call = self.provider, self.call
        try:
            provider.authorise(call)
            prompt = provider.read(call)
            try:
                reply = compose(prompt, verdict.reply)
            except NoInstance as error:
                raise provider.schema_error(prompt, str(error)) from error
            written = provider.stream(call, prompt, reply) if call.stream else provider.write(call, prompt, reply)
            return written, reply.completion_tokens
        except ProviderError as error:
            return error.answer, 0
        except RecursionError:  # nested as deep as JSON may be, which no provider takes
            return provider.error(call, 400, None), 0

    # -- faults ------------------------------------------------------------------------------------------

    async def strike(self, fault: Fault) -> bool:
        """A fault before any answer; whether that was the end of it."""
        if fault.kind == "delay":
            await self.wait(fault.seconds)
            return False
        if fault.kind == "status" and fault.status is not None:
            said = self.provider.error(self.call, fault.status, fault.retry_after, fault.message)
            await self.send_answer(said)
        elif fault.kind == "rate_limit" and self.limit is not None:
            reset = math.ceil(self.limit.reset_seconds)
            await self.send_answer(self.provider.error(self.call, 429, reset, limit=self.limit))
        elif fault.kind == "hang":
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
            # Clients drop what they have not read when they see the end: give them the chunks first.
            await self.wait(READING_SECONDS)
            self.connection.close()
            await self.gone()
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
        return self.provider.headers(self.call, elapsed_ms, self.limit)

    async def send_start(self, status: int, headers: Headers) -> None:
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        if self.entry is not None:
            self.entry.status = status
            self.entry.first_byte_at = time.time()
        await self.send(start)

    async def send_body(self, body: bytes, more: bool = False, chunks: int = 0) -> None:
        if self.entry is not None:
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

    async def gone(self) -> None:
        """Until the connection is closed, by either side."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

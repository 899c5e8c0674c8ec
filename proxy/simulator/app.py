"""The simulator as an application: provider calls here, everything else to control.py.

A provider call that came whole is read, matched and, where it need not wait, answered in `at_once`, without a task for
it: they are what load tests send by the thousand. The others, and what has to wait, take ASGI's way. Nothing is done
for rules where a scope has none. Served by server.py, whose connections can be broken off (`server.Connection`), as
faults need.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import Receive, Send
from starlette.types import Scope as Connected

from proxy.simulator.aliases import Aliases
from proxy.simulator.cassettes.replay import Miss
from proxy.simulator.control import Control
from proxy.simulator.exchange import ClientGone, Exchange
from proxy.simulator.journal import Entry, Journal
from proxy.simulator.providers import anthropic, anthropic_threads, gemini, openai, openai_responses
from proxy.simulator.providers.wire import Answer, Provider, ProviderError
from proxy.simulator.scopes import PROBE_HEADER, REQUEST_HEADER, SCOPE_HEADER, BadScope, Scope, Scopes
from proxy.simulator.script import asked
from proxy.simulator.server import BEGUN, Request, Whole, request_of

RESPONSE_PATH = re.compile(r"/openai/v1/responses/([^/]+)")
GEMINI_PATH = re.compile(r"/gemini/v1(?:beta)?/models/([^/]+):(generateContent|streamGenerateContent)")

NO_MATCH = "double_no_match"
BAD_SCOPE = "double_bad_scope"
CASSETTE_MISS = "double_cassette_miss"
"""What the double itself refuses with: the provider's 400, with this as its code."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: its wire format. `model` and `stream`, where they are told by the path."""

    provider: Provider
    api: asked.Api
    model: str | None = None
    stream: bool = False


ROUTES = {
    "/openai/v1/chat/completions": Route(openai, "chat"),
    "/openai/v1/responses": Route(openai_responses, "responses"),
    "/anthropic/v1/messages": Route(anthropic, "messages"),
}


def route_of(method: str, path: str) -> Route | None:
    """The provider call that this is, if it is one."""
    if method != "POST":
        return None
    if (route := ROUTES.get(path)) is not None:
        return route
    found = GEMINI_PATH.fullmatch(path)
    return Route(gemini, "generateContent", found[1], found[2] != "generateContent") if found is not None else None


class Simulator:
    """`aliases`: provider and upstream model -> the names that rules may also use for it."""

    def __init__(self, control_key: str | None = None, aliases: Aliases | None = None) -> None:
        self.journal = Journal()
        self.scopes = Scopes(self.journal, aliases)
        self._control = Control(self.scopes, control_key).app()

    def at_once(self, request: Request, body: bytes) -> Whole | Exchange | None:
        """The answer to a request, or its exchange, which takes time and is to be carried out; None: no call of a
        provider."""
        route = route_of(request.method, request.path)
        if route is None:
            return None
        exchange, scope, refused = self._begin(route, request)
        answer = None
        try:
            self._settle(exchange, route, scope, refused, body)
            answer = exchange.at_once()
        except BaseException:
            self.journal.end(exchange.entry, "error")
            raise
        if answer is None:
            return exchange
        self.journal.end(exchange.entry, exchange.outcome)
        return answer

    async def __call__(self, connected: Connected, receive: Receive, send: Send) -> None:
        if connected["type"] != "http":
            await self._control(connected, receive, send)
            return
        begun: Exchange | None = connected["state"].get(BEGUN)
        if begun is not None:
            await self._carry_out(begun, receive, send)
            return
        method, path = connected["method"], connected["path"]
        if (route := route_of(method, path)) is not None:
            await self._provider_call(route, connected, receive, send)
        elif method != "POST" and path == "/openai/v1/models":
            await look_up(openai, request_of(connected), openai.models, send)
        elif method in openai_responses.LOOK_UPS and (found := RESPONSE_PATH.fullmatch(path)):
            find = partial(openai_responses.LOOK_UPS[method], found[1])
            await look_up(openai_responses, request_of(connected), find, send)
        else:
            await self._control(connected, receive, send)

    async def _provider_call(self, route: Route, connected: Connected, receive: Receive, send: Send) -> None:
        exchange, scope, refused = self._begin(route, request_of(connected))
        exchange.receive = receive
        try:
            body = await exchange.read_body()
            self._settle(exchange, route, scope, refused, body)
        except BaseException as error:
            self.journal.end(exchange.entry, "error")
            if isinstance(error, ClientGone):
                return
            raise
        await self._carry_out(exchange, receive, send)

    async def _carry_out(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        exchange.receive, exchange.send = receive, send
        try:
            await exchange.carry_out()
        except ClientGone:
            pass
        finally:
            self.journal.end(exchange.entry, exchange.outcome)

    def _begin(self, route: Route, request: Request) -> tuple[Exchange, Scope, str | None]:
        """The exchange, noted in the journal; its scope; and what is wrong with the name of that, if anything is."""
        headers = dict(request.headers)
        scope, refused = self._scope(headers.get(SCOPE_HEADER))
        scope.calls += 1
        request_id = headers.get(REQUEST_HEADER)
        entry = self.journal.begin(
            scope.name,
            route.provider.NAME,
            route.api,
            request.headers,
            request_id.decode("latin-1") if request_id is not None else None,
        )
        return Exchange(route.provider, request, entry, headers), scope, refused

    def _scope(self, name: bytes | None) -> tuple[Scope, str | None]:
        """The scope of that name; where it can be none, `default`, and what is wrong."""
        if name is None:
            return self.scopes.default, None
        try:
            return self.scopes.named(name.decode("latin-1")), None
        except BadScope as error:
            return self.scopes.default, str(error)

    def _seen(self, name: bytes) -> Scope:
        try:
            return self.scopes.seen(name.decode("latin-1"))
        except BadScope:
            return self.scopes.default

    def _settle(self, exchange: Exchange, route: Route, scope: Scope, refused: str | None, body: bytes) -> None:
        """Reads the request and settles what becomes of it: the script, else the cassette, else nothing special."""
        call, entry = exchange.call, exchange.entry
        exchange.take_body(body, route.model, route.stream)
        aliases = self.scopes.aliases.get((route.provider.NAME, call.model or ""), ())
        entry.model, entry.alias, entry.stream = call.model, aliases[0] if aliases else None, call.stream
        self.journal.keep_request(entry, call.raw)
        if route.api == "messages":
            anthropic_threads.resume(call)
        if refused is not None:
            exchange.refuse(refused, BAD_SCOPE)
            return
        if (probed := call.headers.get(PROBE_HEADER)) is not None:
            # By its rules only: where those have nothing against it, neither strictness nor a cassette has.
            exchange.verdict = self._seen(probed).book.look(asked.read(route.api, call, aliases))
            return
        if scope.is_bare:
            return
        seen = asked.read(route.api, call, aliases)
        verdict = scope.book.take(seen)
        if verdict.taker is not None:
            entry.rule = verdict.taker.label
        elif (player := scope.player) is not None:
            try:
                exchange.recorded = player.take(route.provider.NAME, route.api, call)
                exchange.paced = player.timing == "recorded"
            except Miss as miss:
                entry.outcome = "no match"
                exchange.refuse(str(miss), CASSETTE_MISS)
            return
        elif scope.book.strict:
            entry.outcome = "no match"
            exchange.refuse(scope.unmatched(seen), NO_MATCH)
            return
        exchange.verdict = verdict


async def look_up(provider: Provider, request: Request, find: Callable[[], Answer], send: Send) -> None:
    """Answers what asks no model. The journal has nothing of it."""
    exchange = Exchange(provider, request, Entry.unlisted(provider.NAME, request.headers))
    exchange.send = send
    try:
        provider.authorise(exchange.call)
        answer = find()
    except ProviderError as error:
        answer = error.answer
    await exchange.send_answer(answer)

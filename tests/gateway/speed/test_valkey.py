"""Commands that travel together, and who wants them: each caller gets what it would get alone. Against a real Valkey,
or Redis."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import subprocess
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from litellm.caching import redis_batch, redis_cache
from litellm.caching.dual_cache import DualCache
from litellm.caching.redis_cache import RedisCache
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError, WatchError

from proxy.gateway.speed import valkey
from tests.conftest import free_port, until
from tests.gateway.speed.conftest import Keep

SERVER = shutil.which("valkey-server") or shutil.which("redis-server")

pytestmark = pytest.mark.skipif(SERVER is None, reason="no valkey-server or redis-server is on PATH")

Ask = Callable[[Redis], Awaitable[Any]]


class Server:
    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder

    def start(self) -> None:
        command = [
            str(SERVER),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.folder),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until("Valkey takes connections", self.is_there, 30)

    def is_there(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def run(self, ask: Ask) -> Any:
        async def asked() -> Any:
            once_more = Retry(NoBackoff(), 1)  # by default a minute, where a connection's end is noticed late
            async with Redis(host="127.0.0.1", port=self.port, retry=once_more) as client:
                await client.flushall()
                await client.script_flush()
                return await ask(client)

        return asyncio.run(asyncio.wait_for(asked(), 30))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def together(keep: Keep) -> None:
    keep(Pipeline, "execute")
    keep(Redis, "execute_command")
    valkey.send_together()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch, together: None) -> list[Any]:
    """What has gone to Valkey, packet by packet."""
    sent: list[Any] = []
    send = AbstractConnection.send_packed_command

    async def noting(self: Any, command: Any, *args: Any, **named: Any) -> None:
        sent.append(command)
        await send(self, command, *args, **named)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", noting)
    return sent


async def add(client: Redis, key: str, number: float = 1) -> list[Any]:
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.incrbyfloat(key, number)
        pipeline.expire(key, 60)
        pipeline.ttl(key)
        return await pipeline.execute()


async def refused(client: Redis, raises: bool = True) -> Any:
    async with client.pipeline(transaction=False) as pipeline:
        pipeline.incrbyfloat("text", 1)
        pipeline.get("text")
        try:
            return [type(one) for one in await pipeline.execute(raise_on_error=raises)]
        except ResponseError as error:
            return str(error), len(pipeline.command_stack)


async def one_after_the_other(client: Redis) -> list[Any]:
    await client.set("text", "x")
    found: list[Any] = [await add(client, "a"), await add(client, "a", 0.5), await refused(client)]
    found += [await refused(client, raises=False), await client.mget("a", "none", "text"), await client.mget(["a"])]
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.incr("b")
        pipeline.incr("b")
        found.append(await pipeline.execute())
    async with client.pipeline(transaction=False) as pipeline:
        found.append(await pipeline.execute())
        await pipeline.watch("b")
        await client.incr("b")
        pipeline.multi()
        pipeline.incr("b")
        try:
            await pipeline.execute()
        except WatchError as error:
            found.append(str(error))
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    async with client.pipeline(transaction=False) as pipeline:
        await script(["c"], [5], client=pipeline)
        found.append(await pipeline.execute())
    await client.lpush("list", "x")
    try:
        await client.mget("list")
        await client.execute_command("MGET")
    except ResponseError as error:
        found.append(str(error))
    return found


def test_replies(server: Server, keep: Keep) -> None:
    wanted = server.run(one_after_the_other)
    assert [wanted[0], wanted[1]] == [[1.0, True, 60], [1.5, True, 60]]
    keep(Pipeline, "execute")
    keep(Redis, "execute_command")
    valkey.send_together()
    assert server.run(one_after_the_other) == wanted


def test_what_comes_up_at_the_same_time_goes_in_one(server: Server, trips: list[Any]) -> None:
    async def ask(client: Redis) -> Any:
        await add(client, "first")
        trips.clear()
        return await asyncio.gather(*[add(client, f"of {at % 3}") for at in range(30)], client.mget("first", "none"))

    *added, found = server.run(ask)
    assert len(trips) == 1
    assert sorted(number for number, _, _ in added) == sorted([*range(1, 11)] * 3)
    assert found == [b"1", None]


def test_what_comes_up_while_others_are_on_the_way_goes_next(
    server: Server, trips: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valkey, "PATIENCE_SECONDS", 60)

    async def ask(client: Redis) -> None:
        await add(client, "first")
        trips.clear()
        asked = [asyncio.create_task(add(client, "a"))]
        while not trips:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        asked += [asyncio.create_task(add(client, "a")) for _ in range(5)]
        await asyncio.gather(*asked)

    server.run(ask)
    assert len(trips) == 2


def test_a_transaction_goes_alone(server: Server, trips: list[Any]) -> None:
    async def transact(client: Redis) -> Any:
        async with client.pipeline(transaction=True) as pipeline:
            pipeline.incr("a")
            return await pipeline.execute()

    async def ask(client: Redis) -> None:
        await add(client, "first")
        trips.clear()
        await asyncio.gather(add(client, "a"), transact(client), transact(client))

    server.run(ask)
    packets = [b"".join(packet) for packet in trips]
    assert [packet.count(b"MULTI") for packet in packets if b"MULTI" in packet] == [1, 1]
    assert [packet.count(b"MULTI") for packet in packets if b"EXPIRE" in packet] == [0]


@pytest.mark.usefixtures("together")
def test_what_is_refused_is_the_callers_own(server: Server) -> None:
    async def ask(client: Redis) -> Any:
        await client.set("text", "x")
        return await asyncio.gather(add(client, "a"), refused(client), client.mget("text"), refused(client, False))

    one, (error, left), text, both = server.run(ask)
    assert (one, text, left) == ([1.0, True, 60], [b"x"], 0)
    assert error.startswith("Command # 1 (INCRBYFLOAT text 1) of pipeline caused error: ")
    assert both == [ResponseError, bytes]


@pytest.mark.usefixtures("together")
def test_none_waits_for_long(server: Server) -> None:
    async def ask(client: Redis) -> bool:
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.blpop("nothing", timeout=20)
            held = asyncio.create_task(pipeline.execute())
            await asyncio.sleep(0.1)
            await add(client, "a")
            is_held = not held.done()
            await client.lpush("nothing", "now")
            await held
            return is_held

    assert server.run(ask) is True


@pytest.mark.usefixtures("together")
def test_a_caller_that_is_gone_takes_nobody_along(server: Server) -> None:
    async def ask(client: Redis) -> Any:
        asked = [asyncio.create_task(add(client, name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)
        asked[1].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        return found, await client.mget("a", "b", "c")

    (one, gone, other), kept = server.run(ask)
    assert (one, type(gone), other) == ([1.0, True, 60], asyncio.CancelledError, [1.0, True, 60])
    assert kept == [b"1", None, b"1"]


@pytest.mark.usefixtures("together")
def test_all_hear_of_a_valkey_that_is_gone_and_use_it_when_it_is_back(server: Server) -> None:
    async def ask(client: Redis) -> Any:
        await add(client, "a")
        server.stop()
        found = await asyncio.gather(add(client, "a"), add(client, "a"), client.mget("a"), return_exceptions=True)
        await asyncio.to_thread(server.start)
        return found, await add(client, "a")

    found, again = server.run(ask)
    assert [type(one) for one in found] == [NoConnection] * 3
    assert again == [1.0, True, 60]


class Held:
    """What a request holds."""


class Wanted:
    """What is asked of Valkey for a request, and by whom."""

    def __init__(self, server: Server) -> None:
        self.cache = RedisCache(host="127.0.0.1", port=server.port, password=None)
        self.shared = DualCache(redis_cache=self.cache)
        self.cache.service_logger_obj = self  # type: ignore[assignment]
        self.callers: list[tuple[str, str | None]] = []

    async def async_service_success_hook(self, *, call_type: str, caller: str | None = None, **_: Any) -> None:
        self.callers.append((call_type, caller))

    def service_success_hook(self, *, call_type: str, caller: str | None = None, **_: Any) -> None:
        self.callers.append((call_type, caller))

    async def count(self) -> None:
        await self.cache.async_increment("count", 1, ttl=60)
        await self.shared.async_increment_cache("shared", 1, ttl=60)

    async def read(self) -> None:
        await self.cache.async_batch_get_cache(["count", "shared"])
        await self.shared.async_get_cache("other")
        self.cache.set_cache("text", "x")

    async def together(self) -> None:
        batch = redis_batch.RedisBatch(self.cache)
        batch.mget(["count"])
        batch.increment("count", 1.0, 60)
        self.callers += [("declared", one.caller) for one in batch._pending]
        await batch.flush()

    async def asked(self) -> weakref.ref[Held]:
        return await self.request()

    async def request(self) -> weakref.ref[Held]:
        held = Held()
        await asyncio.gather(self.count(), self.read())  # each in a task of its own
        await self.count()
        await (lambda: self.read())()
        await self.together()
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.call_soon(self.cache.set_cache, "text", "y")  # wanted by nobody
        loop.call_soon(over.set)
        await over.wait()
        return weakref.ref(held)

    def run(self) -> weakref.ref[Held]:
        return asyncio.run(asyncio.wait_for(self.asked(), 30))


def test_the_callers_of_commands_are_told_and_let_go(server: Server, keep: Keep) -> None:
    before = Wanted(server)
    gc.collect()
    gc.disable()
    try:
        stays = before.run()
        assert stays() is not None
        for module in (redis_cache, redis_batch):
            keep(module, "_get_call_stack_info")
        valkey.let_callers_go()
        after = Wanted(server)
        gone = after.run()
        assert gone() is None
    finally:
        gc.enable()
    assert sorted(after.callers) == sorted(before.callers)
    assert {("async_increment", "count <- request"), ("declared", "together <- request")} < set(before.callers)

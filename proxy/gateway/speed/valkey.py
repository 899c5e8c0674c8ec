"""How Valkey is asked, in which several gateways share what they count."""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

PATIENCE_SECONDS = 0.05
"""How long commands wait for those that are on the way, before they go by a connection of their own."""
_TRIPS = "_speed_trips"
_TOGETHER = frozenset({"MGET"})
"""Commands outside of pipelines that go along."""


def send_together() -> None:
    """LiteLLM asks Valkey five times in a request, each time by a trip of its own: a connection is taken and put back,
    a packet sent, another read. Here all that comes up while others are on the way goes in one."""
    from redis.asyncio.client import Pipeline, Redis

    pipelines: Any = Pipeline
    clients: Any = Redis
    run, run_one = pipelines.execute, clients.execute_command

    async def execute(self: Any, raise_on_error: bool = True) -> Any:
        if not self.command_stack or self.is_transaction or needs_own_connection(self):
            return await run(self, raise_on_error)
        commands = list(self.command_stack)
        try:
            replies = await trips_of(self.connection_pool).send(self, commands)
        finally:
            await self.reset()
        if raise_on_error:
            self.raise_first_error(commands, replies)
        return replies

    async def execute_command(self: Any, *command: Any, **options: Any) -> Any:
        if command[0] not in _TOGETHER or self.connection is not None or self.single_connection_client:
            return await run_one(self, *command, **options)
        pipeline = self.pipeline(transaction=False)
        replies = await trips_of(self.connection_pool).send(pipeline, [(command, options)])
        if isinstance(replies[0], Exception):
            raise replies[0]
        return replies[0]

    def needs_own_connection(pipeline: Any) -> bool:
        """Whether it watches keys, or has begun to speak on a connection."""
        return bool(pipeline.watching or pipeline.explicit_transaction or pipeline.scripts or pipeline.connection)

    def trips_of(pool: Any) -> Trips:
        trips: Trips | None = pool.__dict__.get(_TRIPS)
        if trips is None or trips.loop is not asyncio.get_running_loop():
            trips = pool.__dict__[_TRIPS] = Trips(run)
        return trips

    pipelines.execute = execute
    clients.execute_command = execute_command


def let_callers_go() -> None:
    """For each command to Valkey LiteLLM notes the names of the two functions that wanted it, and keeps the frame it
    looked from within itself, with the frames of all its callers and what they hold, 115 objects in a request."""
    from litellm.caching import redis_batch, redis_cache

    forwards, ends = redis_cache._is_generic_caller_frame, redis_cache._ends_call_stack

    def names_of_callers(num_frames: int = 2) -> str:
        frame: FrameType | None = sys._getframe(1)  # that of the command, which is none of those that want it
        names: list[str] = []
        while frame is not None and len(names) < num_frames and not ends(frame):
            if not forwards(frame):
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        return " <- ".join(names) or redis_cache.current_service_caller() or "unknown"

    modules: list[Any] = [redis_cache, redis_batch]
    for module in modules:
        module._get_call_stack_info = names_of_callers


class Trips:
    """To one Valkey. Commands go at once where none are on the way, else with others when those are back."""

    def __init__(self, run: Any) -> None:
        """`run` executes a pipeline alone."""
        self.loop = asyncio.get_running_loop()
        self._run = run
        self._waiting: list[tuple[Any, list[Any], asyncio.Future[list[Any]]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._patience: asyncio.TimerHandle | None = None

    async def send(self, pipeline: Any, commands: list[Any]) -> list[Any]:
        """The replies to these; for one that Valkey refused, the error. Raises what kept the trip from being made.

        `pipeline` is an empty one of the same client, or the one that has these commands.
        """
        replies = self.loop.create_future()
        self._waiting.append((pipeline, commands, replies))
        if len(self._waiting) == 1:
            if self._under_way:
                self._patience = self.loop.call_later(PATIENCE_SECONDS, self._go)
            else:
                self.loop.call_soon(self._go)  # with all that comes up until then
        return await replies  # type: ignore[no-any-return]

    def _go(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        together = [one for one in self._waiting if not one[2].done()]
        self._waiting = []
        if together:
            trip = self.loop.create_task(self._travel(together))
            self._under_way.add(trip)
            trip.add_done_callback(self._back)

    def _back(self, trip: asyncio.Task[None]) -> None:
        self._under_way.discard(trip)
        self._go()

    async def _travel(self, together: list[tuple[Any, list[Any], asyncio.Future[list[Any]]]]) -> None:
        first = together[0][0]
        pipeline = type(first)(first.connection_pool, first.response_callbacks, False, None)
        pipeline.command_stack = [command for _, commands, _ in together for command in commands]
        try:
            replies = await self._run(pipeline, False)
        except BaseException as error:
            for _, _, waiting in together:
                if waiting.done():
                    continue
                if isinstance(error, Exception):
                    waiting.set_exception(error)
                else:
                    waiting.cancel()
            if not isinstance(error, Exception):
                raise
            return
        at = 0
        for _, commands, waiting in together:
            if not waiting.done():
                waiting.set_result(replies[at : at + len(commands)])
            at += len(commands)

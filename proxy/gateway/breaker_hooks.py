"""The breaker in LiteLLM: each attempt at a deployment is told to breaker.py, and none is made at one that is down.

All by LiteLLM's own extension points (CustomLogger), nothing of it is changed: with its cooldowns, which are the same
idea, one 401 closes a model, clients read 429, and nothing is asked again but by a client's request. Used by app.py.

What counts as a failure is what a provider that is down does: 5xx (Anthropic's 529 with them), 408, connections that
fail or break, timeouts, bodies that cannot be read. Not what the request itself is to blame for (400, 401, 403, 404,
413, 422), nor our own limits, which are no attempts; nor a timeout that the client chose. Nor a provider's 429: one who
answers it is up, says when to come back (which retries heed), and lets smaller requests through, the probe among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx
import litellm
import openai
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.health_check import update_litellm_params_for_health_check
from prometheus_client import Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.catalog import Catalog
from proxy.gateway.breaker import NOT_ASKED, Breakers, Key, threshold
from proxy.gateway.scopes import PROBE_HEADER, SCOPE_HEADER
from proxy.render.litellm import PROBES_SCOPE

log = logging.getLogger("proxy.gateway")

_NEEDED = ("async_filter_deployments", "async_pre_call_check", "async_post_call_failure_deployment_hook")
_PASSING_TIMEOUT = 408

OPEN = Gauge(
    "litellm_local_breaker_open",
    "Scopes (without a double: 1 or 0) in which the model counts as down and is not asked",
    ["model", "provider"],
    multiprocess_mode="livesum",
)
OPENED = Counter("litellm_local_breaker_opened", "How often a model came to count as down", ["model", "provider"])
SKIPPED = Counter(
    "litellm_local_breaker_skipped", "Attempts that were not made because the model was down", ["model", "provider"]
)


@dataclass
class Attempt:
    deployment: str
    began: float
    over: bool = False


@dataclass
class Trace:
    """What is known of a client's request while it lasts: shared by all tasks that work for it. `scope` None: it is
    none that a model is asked for."""

    scope: str | None = None
    has_own_timeout: bool = False
    attempt: Attempt | None = None


_TRACE: ContextVar[Trace | None] = ContextVar("breaker_trace", default=None)


class ProviderDown(litellm.NotFoundError):  # type: ignore[misc] # LiteLLM's classes are Any to the type checker
    """A deployment is not asked, as it is down.

    LiteLLM makes its pauses and retries for every 503, whatever the error's own `num_retries`, but never for this
    class; of a chain it then asks the next model at once. Clients see the 503 only.
    """

    def __init__(self, model: str, retry_after: int) -> None:
        headers = {"retry-after": str(retry_after)}
        request = httpx.Request("POST", "http://breaker")
        message = f"{model} {NOT_ASKED.format(seconds=retry_after)}"
        super().__init__(message, model, "", response=httpx.Response(503, headers=headers, request=request))
        self.message = message
        self.headers = headers
        self.type = "service_unavailable"


class BreakerHooks(CustomLogger):  # type: ignore[misc] # as above
    """`catalog` says what a chain is and how often to probe. `double`: whether requests carry a scope."""

    def __init__(self, catalog: Catalog, *, double: bool) -> None:
        super().__init__()
        self._catalog = catalog
        self._double = double
        self._deployments: dict[str, Mapping[str, Any]] = {}
        self.breakers = Breakers(
            threshold(catalog),
            probe=self._is_up,
            probe_seconds=catalog.breaker.probe_seconds,
            name=self._name,
            on_change=self._count,
        )
        for alias, model in catalog.models.items():
            OPEN.labels(alias, model.provider).set(0)
        for needed in _NEEDED:
            if not hasattr(CustomLogger, needed):
                log.warning("breaker: this LiteLLM has no %s; outages go unnoticed", needed)

    def install(self) -> None:
        litellm.logging_callback_manager.add_litellm_callback(self)

    # -- LiteLLM's hooks, in the order in which a request meets them ----------------------------------------

    async def async_pre_call_hook(
        self,
        user_api_key_dict: Any,  # noqa: ARG002 - LiteLLM passes its arguments by these names
        cache: Any,  # noqa: ARG002
        data: dict[str, Any],
        call_type: str,  # noqa: ARG002
    ) -> None:
        trace = _TRACE.get()
        if trace is not None:
            # Set by internals.put_on_upstream_requests, whose hook is called before this one.
            trace.scope = str((data.get("extra_headers") or {}).get(SCOPE_HEADER, "")) if self._double else ""
            trace.has_own_timeout = data.get("timeout") is not None or data.get("stream_timeout") is not None

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Any,  # noqa: ARG002
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        trace = _TRACE.get()
        if trace is None or trace.scope is None or not self._may_skip(model, request_kwargs or {}):
            return healthy_deployments
        scope = trace.scope
        up = [one for one in healthy_deployments if not self.breakers.is_open(Key(scope, _id_of(one)))]
        if healthy_deployments and not up:
            SKIPPED.labels(model, self._provider(model)).inc()
            raise ProviderDown(model, self.breakers.retry_after)
        return up

    def _may_skip(self, model: str, asked: Mapping[str, Any]) -> bool:
        has_another = bool(asked.get("fallback_depth") or self._catalog.fallbacks.get(model))
        return has_another or self._catalog.breaker.without_fallback == "refuse"

    async def async_pre_call_check(self, deployment: dict[str, Any], parent_otel_span: Any) -> None:  # noqa: ARG002
        trace = _TRACE.get()
        if trace is not None:
            self._deployments[_id_of(deployment)] = deployment
            trace.attempt = Attempt(_id_of(deployment), self.breakers.now())

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,  # noqa: ARG002
        fallback_depth: int | None = None,  # noqa: ARG002
    ) -> None:
        trace = _TRACE.get()
        if trace is None or trace.scope is None or (attempt := trace.attempt) is None:
            return
        # One API is often served by another one inside, which then tells of the same failure first.
        failed = (request_data.get("model_info") or {}).get("id", attempt.deployment)
        if attempt.over or failed != attempt.deployment:
            return
        attempt.over = True
        if is_outage(exception) and not (trace.has_own_timeout and isinstance(exception, litellm.Timeout)):
            self.breakers.failed(Key(trace.scope, attempt.deployment), _cause(exception))

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],  # noqa: ARG002
        user_api_key_dict: Any,  # noqa: ARG002
        response: Any,
        request_headers: Any = None,  # noqa: ARG002
        litellm_call_info: Any = None,  # noqa: ARG002
    ) -> None:
        """Called when a whole answer is there, and when a stream has begun."""
        trace = _TRACE.get()
        if trace is None or trace.scope is None or (attempt := trace.attempt) is None:
            return
        if response is not None and not attempt.over:
            attempt.over = True
            self.breakers.succeeded(Key(trace.scope, attempt.deployment), attempt.began)

    # -- beside LiteLLM ------------------------------------------------------------------------------------

    def traced(self, app: ASGIApp) -> ASGIApp:
        """`app`, each request to it with a trace that the hooks write into; to be seen by all that is inside."""

        async def with_trace(scope: Scope, receive: Receive, send: Send) -> None:
            token = _TRACE.set(Trace() if scope["type"] == "http" else None)
            try:
                await app(scope, receive, send)
            finally:
                _TRACE.reset(token)

        return with_trace

    def took_too_long(self) -> None:
        """The request of this context met its deadline: where it waited for a provider, that one hangs."""
        trace = _TRACE.get()
        if trace is None or trace.scope is None or (attempt := trace.attempt) is None or attempt.over:
            return
        attempt.over = True
        if not trace.has_own_timeout:
            attempts = self._catalog.limits.retries + 1  # it cost its client all of them
            key = Key(trace.scope, attempt.deployment)
            self.breakers.failed(key, "silence for a request's whole time limit", attempts, attempt.began)

    def open(self) -> list[dict[str, Any]]:
        """What is down, for /health."""
        found = []
        for key, seconds in self.breakers.open():
            model = self._model(key)
            shown = {"model": model, "provider": self._provider(model), "seconds": round(seconds, 1)}
            found.append({**shown, "scope": key.scope} if self._double else shown)
        return found

    async def _is_up(self, key: Key) -> bool:
        """Asks a deployment as LiteLLM's own health checks do, past keys, limits and spend."""
        deployment = self._deployments[key.deployment]
        asked = update_litellm_params_for_health_check(
            dict(deployment["model_info"]), dict(deployment["litellm_params"])
        )
        asked["num_retries"] = asked["max_retries"] = 0
        if self._double:
            asked["extra_headers"] = {SCOPE_HEADER: PROBES_SCOPE, PROBE_HEADER: key.scope}
        patience = self._catalog.health.probe_timeout_seconds
        try:
            found = await asyncio.wait_for(litellm.ahealth_check(asked, mode="chat"), patience)
        except asyncio.TimeoutError:
            return False
        error = found.get("exception")
        # Whoever finds fault with the probe is there to do it.
        return error is None or not is_outage(error)

    def _count(self, key: Key, opened: bool) -> None:
        model = self._model(key)
        labels = (model, self._provider(model))
        OPEN.labels(*labels).inc(1 if opened else -1)
        if opened:
            OPENED.labels(*labels).inc()

    def _name(self, key: Key) -> str:
        model = self._model(key)
        where = f", scope {key.scope}" if self._double else ""
        return f"{model} ({self._provider(model)}{where})"

    def _model(self, key: Key) -> str:
        return str(self._deployments[key.deployment]["model_name"])

    def _provider(self, model: str) -> str:
        known = self._catalog.models.get(model)
        return known.provider if known else ""


def is_outage(error: BaseException) -> bool:
    """Whether an error is what a provider that is down makes; see above."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status >= 500 or status == _PASSING_TIMEOUT
    return isinstance(error, (httpx.TransportError, openai.APIConnectionError, OSError, asyncio.TimeoutError))


def _id_of(deployment: Mapping[str, Any]) -> str:
    return str((deployment.get("model_info") or {}).get("id"))


def _cause(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__} {status}" if status else type(error).__name__

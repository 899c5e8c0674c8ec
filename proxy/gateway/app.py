"""Puts the gateway together: LiteLLM's app in the middle, the guards around it, /usage on it.

`build_app` imports LiteLLM, which takes seconds; call it when the environment is complete (see __main__.py).
From the outside in: replies, the double's control (in double mode), the breaker's traces, deadline, bodies, readiness,
more of /health, the watch over the stores, paths, LiteLLM.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Query as Parameter
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.catalog import Catalog, project_root
from proxy.gateway import away, internals, lazy, mends, metrics, scopes, speed
from proxy.gateway.bodies import BodyGuard
from proxy.gateway.deadline import Deadline
from proxy.gateway.double import Control, Double
from proxy.gateway.errors import CLOSED, Refusal, error_body, send_refusal
from proxy.gateway.openapi import OpenApiCache
from proxy.gateway.overrides import Overrides
from proxy.gateway.probes import FirstProbes, MoreHealth, WithoutPostgres
from proxy.gateway.replies import Replies
from proxy.gateway.routes import CLOSED_PATH, Api, api_of
from proxy.gateway.scrub import Scrubber
from proxy.gateway.simulator import Simulator
from proxy.gateway.stores import Stores
from proxy.gateway.usage import DEFAULT_DAYS, Usage, UsageReport, parse_query

if TYPE_CHECKING:
    from proxy.gateway.breaker_hooks import BreakerHooks

_PROBE_MARGIN_SECONDS = 5.0
LITELLMS_OWN = {"/metrics": "/metrics/", "/favicon.ico": "/get_favicon"}


def build_app(catalog: Catalog, *, mode: str, cache: Path, simulator: Simulator, stopping: asyncio.Event) -> ASGIApp:
    """The gateway as an ASGI app. `cache` is a folder for what a next start need not compute again; `simulator` is
    used in double mode only, and calls that wait on it end when `stopping` is set."""
    from litellm.proxy import proxy_server

    limits = catalog.limits
    mends.mend()
    lazy.after_import()
    speed.install(catalog)
    metrics.bound(catalog, proxy_server.app)
    if mode == "double":
        internals.tell_repeated_replies_apart()
        internals.put_on_upstream_requests(
            lambda token, headers, call_id: scopes.upstream_headers(token, headers.get(scopes.SCOPE_HEADER), call_id)
        )
    postgres = internals.postgres()
    away.go_on_without(postgres)
    hooks = breaker(catalog, double=mode == "double")
    add_usage_route(proxy_server.app, catalog)
    overrides = Overrides(
        internals.own_parameters(), max_timeout=limits.request_timeout_seconds, max_retries=limits.retries
    )
    schema = OpenApiCache(Paths(proxy_server.app), proxy_server.app, cache)
    schema.begin()
    app: ASGIApp = schema
    app = stores = Stores(app, [postgres, internals.valkey()])

    def more_health() -> dict[str, Any]:
        breakers = {} if hooks is None else {"open_breakers": hooks.open()}
        return {**breakers, "stores_away": stores.away()}

    app = MoreHealth(app, more=more_health)
    app = WithoutPostgres(app, away=lambda: postgres.away)
    app = FirstProbes(
        app,
        has_results=internals.has_probe_results,
        patience=catalog.health.probe_timeout_seconds + _PROBE_MARGIN_SECONDS,
    )

    def guarded(inner: ASGIApp) -> ASGIApp:
        return BodyGuard(inner, overrides=overrides, max_body_mb=limits.max_body_mb, max_nesting=limits.max_nesting)

    if hooks is None:
        app = Deadline(guarded(app), seconds=limits.request_timeout_seconds)
    else:
        app = Deadline(guarded(app), seconds=limits.request_timeout_seconds, on_late=hooks.took_too_long)
        app = hooks.traced(app)
    if mode == "double":
        forget = hooks.breakers.forget if hooks is not None else None
        app = Double(app, control=guarded(Control(simulator, stopping, forget)))
    return Replies(app, mode=mode, scrubber=Scrubber(private_roots()))


def breaker(catalog: Catalog, *, double: bool) -> BreakerHooks | None:
    """The breaker, set into LiteLLM; None where proxy.yaml wants none."""
    if not catalog.breaker.enabled:
        return None
    from proxy.gateway.breaker_hooks import BreakerHooks

    hooks = BreakerHooks(catalog, double=double)
    hooks.install()
    return hooks


def private_roots() -> list[str]:
    """The folders no reply may name."""
    folders = [Path(sys.prefix), Path(sys.base_prefix), Path.home(), Path.cwd(), project_root()]
    return [str(folder) for folder in (*folders, Path(tempfile.gettempdir()))]


class Paths:
    """ASGI middleware: the paths by which clients ask, put as LiteLLM has them.

    It mounts the metrics at /metrics/ and would redirect there. Browsers look for the icon of /ui at the root. It knows
    Gemini's API by its version v1beta; Google's SDK asks for v1.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path == CLOSED_PATH:
                await send_refusal(send, CLOSED, "openai")
                return
            if path in LITELLMS_OWN:
                own = LITELLMS_OWN[path]
                scope = {**scope, "path": own, "raw_path": own.encode()}
            elif path.startswith("/v1/models/") and api_of(path) is Api.GEMINI:
                raw: bytes = scope.get("raw_path") or path.encode()
                scope = {**scope, "path": "/v1beta" + path[3:], "raw_path": b"/v1beta" + raw[3:]}
        await self.app(scope, receive, send)


def add_usage_route(app: Any, catalog: Catalog) -> None:
    """Registers GET /usage on LiteLLM's FastAPI app."""
    report = UsageReport(internals.query, internals.write_spend_logs, catalog)

    async def usage(
        request: Request,
        since: str | None = Parameter(None, description=f"A date or time, UTC; {DEFAULT_DAYS} days ago if left out"),
        until: str | None = Parameter(None, description="A date (included) or time, UTC; now if left out"),
        group_by: str = Parameter("model", description="model, key, day or provider"),
    ) -> Any:
        """Requests, failures, tokens and spend in USD. The master key sees all, a virtual key its own."""
        key = await internals.caller(request)
        try:
            asked = parse_query(since, until, group_by, datetime.now(timezone.utc))
        except Refusal as refusal:
            return Response(error_body(refusal, "openai"), refusal.status, media_type="application/json")
        return await report.usage(asked, key)

    app.add_api_route(
        "/usage", usage, methods=["GET"], tags=["usage"], response_model=Usage, response_model_exclude_none=True
    )

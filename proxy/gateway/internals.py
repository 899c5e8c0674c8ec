"""All of LiteLLM's internals the gateway leans on, in one place: what to look at when LiteLLM is upgraded, with
mends.py, which puts right what it does wrong.

Every function here needs LiteLLM's proxy imported and started. Used by app.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from proxy.gateway.errors import Refusal
from proxy.gateway.stores import Store

POSTGRES_AWAY = (
    "models and the keys known here are served and their spend is kept in memory until it is back; "
    "new keys, /usage, /ui and all that manages keys are refused"
)
VALKEY_AWAY = (
    "each gateway counts for itself, so that limits and budgets let through as many times more as there are "
    "gateways, and learns of changed, blocked and deleted keys up to a minute late"
)


def own_parameters() -> frozenset[str]:
    """Every parameter LiteLLM keeps for itself in a request, by its own lists."""
    from litellm.proxy.auth.auth_utils import _BANNED_REQUEST_BODY_PARAMS
    from litellm.types.router import GenericLiteLLMParams
    from litellm.types.utils import all_litellm_params

    return frozenset({*all_litellm_params, *GenericLiteLLMParams.model_fields, *_BANNED_REQUEST_BODY_PARAMS})


def has_probe_results() -> bool:
    """Whether the first cycle of background health checks is through."""
    from litellm.proxy import proxy_server

    return bool(proxy_server.health_check_results)


def postgres() -> Store:
    """LiteLLM's database, as something to be watched."""
    return Store("Postgres", lambda: query("SELECT 1"), POSTGRES_AWAY)


def valkey() -> Store:
    """What LiteLLM shares its counters through, where there is one."""
    from litellm.proxy import proxy_server

    async def ping() -> None:
        await proxy_server.redis_usage_cache.init_async_client().ping()

    return Store("Valkey", ping, VALKEY_AWAY, is_there=lambda: proxy_server.redis_usage_cache is not None)


async def query(sql: str, *arguments: object) -> list[Mapping[str, Any]]:
    """Rows of a query through LiteLLM's own database client."""
    from litellm.proxy import proxy_server

    rows: list[Mapping[str, Any]] = await proxy_server.prisma_client.db.query_raw(sql, *arguments)
    return rows


async def write_spend_logs() -> None:
    """Has LiteLLM write the spend it logged so far: what its logging still works on, then its write-behind queue."""
    from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
    from litellm.proxy import proxy_server
    from litellm.proxy.utils import update_spend_logs_job

    await GLOBAL_LOGGING_WORKER.flush()
    await update_spend_logs_job(
        prisma_client=proxy_server.prisma_client,
        db_writer_client=proxy_server.db_writer_client,
        proxy_logging_obj=proxy_server.proxy_logging_obj,
    )


def tell_repeated_replies_apart() -> None:
    """Has LiteLLM keep a row of spend for every reply of the providers' double.

    It keys the spend log by the provider's id of a reply. The double answers the same request the same way,
    id included, so all but the first of equal requests would go uncounted; here the call's own id is added.
    Rows of the Responses API keep theirs, by which LiteLLM finds a conversation again.
    """
    from litellm.proxy.spend_tracking import spend_tracking_utils

    reply_id_of = spend_tracking_utils.get_spend_logs_id

    def get_spend_logs_id(call_type: str, response_obj: dict[str, Any], kwargs: dict[str, Any]) -> str | None:
        reply_id: str | None = reply_id_of(call_type, response_obj, kwargs)
        call_id = kwargs.get("litellm_call_id")
        if call_type == "aresponses" or not reply_id or not call_id or reply_id == call_id:
            return reply_id
        return f"{reply_id}-{call_id}"

    spend_tracking_utils.get_spend_logs_id = get_spend_logs_id


def put_on_upstream_requests(
    headers_of: Callable[[str | None, Mapping[str, str], str | None], Mapping[str, str]],
) -> None:
    """Has LiteLLM send headers with every upstream request it makes for a client's: retries, fallbacks, all APIs.

    `headers_of(token, headers, call_id)` says which: from the hash of the virtual key (None: the master key), the
    client's own headers, in lower case, and the call's id. LiteLLM's health probes are no client's and its
    pass-through routes know no such headers: for those see render/litellm.py and `mark_pass_through`.
    """
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    class UpstreamHeaders(CustomLogger):  # type: ignore[misc] # LiteLLM's classes are Any to the type checker
        async def async_pre_call_hook(
            self,
            user_api_key_dict: Any,
            cache: Any,  # noqa: ARG002 - LiteLLM passes its arguments by these names
            data: dict[str, Any],
            call_type: str,
        ) -> dict[str, Any]:
            if call_type == "pass_through_endpoint":  # what is set there would end in the body
                return data
            sent = (data.get("proxy_server_request") or {}).get("headers") or {}
            own = headers_of(_token(user_api_key_dict), sent, data.get("litellm_call_id"))
            data["extra_headers"] = {**(data.get("extra_headers") or {}), **own}
            return data

    litellm.logging_callback_manager.add_litellm_callback(UpstreamHeaders())


def is_pass_through(path: str) -> bool:
    """Whether LiteLLM may hand a request for this path on to a provider as it is (see pass_through_bases)."""
    return path.startswith(("/openai/", "/openai_passthrough/", "/anthropic/", "/gemini/"))


def mark_pass_through(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Request headers that have LiteLLM's pass-through routes send `headers` upstream."""
    from litellm.constants import PASS_THROUGH_HEADER_PREFIX

    return [(f"{PASS_THROUGH_HEADER_PREFIX}{name}".encode(), value.encode()) for name, value in headers.items()]


async def known_caller(request: Request) -> str | None:
    """`caller`, with LiteLLM's refusal as one of ours."""
    from litellm.proxy._types import ProxyException

    try:
        return await caller(request)
    except ProxyException as error:
        status = int(error.code) if str(error.code).isdigit() else 500
        if status != 401:
            raise Refusal(status, str(error.message), type=str(error.type)) from None
        message = "the key is missing or wrong; send the master key or a virtual key as 'Authorization: Bearer <key>'"
        raise Refusal(401, message, type="authentication_error") from None


async def caller(request: Request) -> str | None:
    """The hash of the virtual key that asks; None for the master key and for an admin's session in /ui.

    Raises LiteLLM's ProxyException (401) for no key or a wrong one. LiteLLM knows nothing of /usage and would
    refuse virtual keys there, so it is asked as for /key/info, which every key may call about itself.
    """
    from litellm.proxy._types import SpecialHeaders
    from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

    asked = {"method": "GET", "path": "/key/info", "raw_path": b"/key/info", "query_string": b""}
    # with a state of its own, for LiteLLM keeps a request's headers and body there once it has read them
    as_key_info = {**request.scope, **asked, "state": dict(request.scope.get("state", {}))}
    headers = request.headers
    auth = await user_api_key_auth(
        request=Request(as_key_info, _no_body),
        api_key=headers.get(SpecialHeaders.openai_authorization.value),
        azure_api_key_header=headers.get(SpecialHeaders.azure_authorization.value),
        anthropic_api_key_header=headers.get(SpecialHeaders.anthropic_authorization.value),
        google_ai_studio_api_key_header=headers.get(SpecialHeaders.google_ai_studio_authorization.value),
        azure_apim_header=headers.get(SpecialHeaders.azure_apim_authorization.value),
        custom_litellm_key_header=headers.get(SpecialHeaders.custom_litellm_api_key.value),
    )
    return _token(auth)


async def _no_body() -> Message:
    """LiteLLM reads the body of what it authenticates; whoever asks has yet to read the real one."""
    return {"type": "http.request", "body": b"", "more_body": False}


def _token(auth: Any) -> str | None:
    """The hash of an authenticated virtual key; None for the master key and for an admin's session in /ui."""
    from litellm.constants import LITELLM_PROXY_MASTER_KEY_ALIAS, UI_SESSION_TOKEN_TEAM_ID
    from litellm.proxy._types import LitellmUserRoles

    is_admin_session = auth.team_id == UI_SESSION_TOKEN_TEAM_ID and auth.user_role == LitellmUserRoles.PROXY_ADMIN
    if is_admin_session or auth.token == LITELLM_PROXY_MASTER_KEY_ALIAS:
        return None
    return str(auth.token)

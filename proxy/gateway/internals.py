"""All of LiteLLM's internals the gateway leans on, in one place: what to look at when LiteLLM is upgraded.

Every function here needs LiteLLM's proxy imported and started. Used by app.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request


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


async def caller(request: Request) -> str | None:
    """The hash of the virtual key that asks; None for the master key and for an admin's session in /ui.

    Raises LiteLLM's ProxyException (401) for no key or a wrong one. LiteLLM knows nothing of /usage and would
    refuse virtual keys there, so it is asked as for /key/info, which every key may call about itself.
    """
    from litellm.proxy import proxy_server
    from litellm.proxy._types import LitellmUserRoles, SpecialHeaders, hash_token
    from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

    as_key_info = {**request.scope, "path": "/key/info", "raw_path": b"/key/info", "query_string": b""}
    headers = request.headers
    auth = await user_api_key_auth(
        request=Request(as_key_info, request.receive),
        api_key=headers.get(SpecialHeaders.openai_authorization.value),
        azure_api_key_header=headers.get(SpecialHeaders.azure_authorization.value),
        anthropic_api_key_header=headers.get(SpecialHeaders.anthropic_authorization.value),
        google_ai_studio_api_key_header=headers.get(SpecialHeaders.google_ai_studio_authorization.value),
        azure_apim_header=headers.get(SpecialHeaders.azure_apim_authorization.value),
        custom_litellm_key_header=headers.get(SpecialHeaders.custom_litellm_api_key.value),
    )
    is_admin_session = auth.team_id == "litellm-dashboard" and auth.user_role == LitellmUserRoles.PROXY_ADMIN
    if is_admin_session or auth.token == hash_token(proxy_server.master_key):
        return None
    return str(auth.token)

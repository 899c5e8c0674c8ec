"""Conversations that Anthropic keeps for its clients (beta `message-threads`): a request with
`"thread": {"type": "create"}` has its conversation kept under the reply's id, and one that continues from that id sends
only what is new. The official SDK's tool runner does so by itself. Used by the application and anthropic.py.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from proxy.simulator.providers.anthropic_errors import refusal
from proxy.simulator.providers.wire import Answer, Call, ProviderError, dumps

KEPT = 300
"""Conversations; beyond them the oldest is forgotten, and its client sends it whole again."""

_kept: OrderedDict[str, dict[str, Any]] = OrderedDict()


def resume(call: Call) -> None:
    """Puts what was kept of the conversation that a request continues in front of its messages."""
    previous = _previous(call.body)
    kept = _kept.get(previous) if previous is not None else None
    if kept is not None and isinstance(call.body["messages"], list):
        call.body = {**call.body, **kept, "messages": [*kept["messages"], *call.body["messages"]]}


def check(call: Call) -> None:
    """Raises ProviderError where a request continues what is not kept."""
    previous = _previous(call.body)
    if previous is not None and previous not in _kept:
        body = refusal(call, "not_found_error", f"thread.previous_message_id: no thread found for '{previous}'")
        body["error"]["details"] = {"error_code": "thread_not_found"}
        raise ProviderError(Answer(404, dumps(body)))


def keep(body: dict[str, Any], message_id: str, content: list[dict[str, Any]]) -> None:
    """Keeps a conversation with its latest reply, if the request wants it kept."""
    if not isinstance(body.get("thread"), dict):
        return
    said = [block for block in content if block.get("text") != ""]
    kept: dict[str, Any] = {name: body[name] for name in ("system", "tools") if name in body}
    _kept[message_id] = {**kept, "messages": [*body["messages"], {"role": "assistant", "content": said}]}
    while len(_kept) > KEPT:
        _kept.popitem(last=False)


def _previous(body: Any) -> str | None:
    """The reply that a request continues from."""
    thread = body.get("thread") if isinstance(body, dict) and "messages" in body else None
    if not isinstance(thread, dict) or thread.get("type") != "continue":
        return None
    return str(thread.get("previous_message_id"))

"""What a request asks, told the same for every provider: what rules look at.

Read by `scopes` for requests of a scope that has rules. The provider has not checked the body yet, so nothing in it
is taken for granted: what is not where it should be is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import orjson

from proxy.simulator.providers.openai_responses_store import STORE
from proxy.simulator.providers.wire import Call

Api = Literal["chat", "messages", "generateContent", "responses"]

PROVIDER_OF: dict[str, str] = {
    "chat": "openai",
    "responses": "openai",
    "messages": "anthropic",
    "generateContent": "google",
}


CALLS = ("function_call", "custom_tool_call")
CALL_OUTPUTS = ("function_call_output", "custom_tool_call_output")
"""Types of items in the Responses API."""


@dataclass(slots=True)
class Content:
    """What the body of a request says: see Asked."""

    text: str = ""
    system: str = ""
    tools: tuple[str, ...] = ()
    tool_results: tuple[tuple[str, str], ...] = ()
    turn: int = 1


@dataclass(slots=True)
class Asked:
    """A request as rules see it.

    `model` is the upstream's name, None where the request has none; `aliases` are the gateway's names for it. `text`
    is the last text of the user's, `system` the system prompt, both empty where there is none. `tools` are the names
    of the functions offered. `tool_results` are name and text of the results that end the conversation, if that is
    what ends it. `turn` is 1 + the assistant's messages so far. `headers` have names in lower case. What the `body`
    says is read when a rule first looks at it.
    """

    provider: str
    api: str
    model: str | None
    aliases: tuple[str, ...]
    stream: bool
    headers: Mapping[bytes, bytes]
    body: dict[str, Any]
    _content: Content | None = None

    @property
    def content(self) -> Content:
        if self._content is None:
            self._content = READERS[self.api](self.body)
        return self._content

    @property
    def text(self) -> str:
        return self.content.text

    @property
    def system(self) -> str:
        return self.content.system

    @property
    def tools(self) -> tuple[str, ...]:
        return self.content.tools

    @property
    def tool_results(self) -> tuple[tuple[str, str], ...]:
        return self.content.tool_results

    @property
    def turn(self) -> int:
        return self.content.turn


def read(api: str, call: Call, aliases: tuple[str, ...] = ()) -> Asked:
    """`call` as rules see it; of a body that is no JSON object, only what is beside it."""
    body = call.body if isinstance(call.body, dict) else {}
    return Asked(PROVIDER_OF[api], api, call.model, aliases, call.stream, call.headers, body)


def _chat(body: dict[str, Any]) -> Content:
    messages = _objects(body.get("messages"))
    names = {
        str(call.get("id")): str(_object(call.get("function")).get("name", ""))
        for message in messages
        for call in _objects(message.get("tool_calls"))
    }
    results: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.append((names.get(str(message.get("tool_call_id")), ""), text_of(message.get("content"))))
    return Content(
        text=_last(text_of(message.get("content")) for message in reversed(messages) if message.get("role") == "user"),
        system="\n".join(
            text_of(message.get("content")) for message in messages if message.get("role") in ("system", "developer")
        ),
        tools=_names(_object(tool.get("function")).get("name") for tool in _objects(body.get("tools"))),
        tool_results=tuple(reversed(results)),
        turn=1 + sum(message.get("role") == "assistant" for message in messages),
    )


def _messages(body: dict[str, Any]) -> Content:
    messages = _objects(body.get("messages"))
    names = {
        str(block.get("id")): str(block.get("name", ""))
        for message in messages
        for block in _objects(message.get("content"))
        if block.get("type") == "tool_use"
    }
    last = messages[-1] if messages else {}
    results = [block for block in _objects(last.get("content")) if block.get("type") == "tool_result"]
    return Content(
        text=_last(text_of(message.get("content")) for message in reversed(messages) if message.get("role") == "user"),
        system=text_of(body.get("system")),
        tools=_names(tool.get("name") for tool in _objects(body.get("tools"))),
        tool_results=tuple(
            (names.get(str(block.get("tool_use_id")), ""), text_of(block.get("content"))) for block in results
        ),
        turn=1 + sum(message.get("role") == "assistant" for message in messages),
    )


def _generate_content(body: dict[str, Any]) -> Content:
    contents = _objects(body.get("contents"))
    users = [content for content in contents if content.get("role", "user") != "model"]
    last = contents[-1] if contents else {}
    responses = [
        _object(part.get("functionResponse") or part.get("function_response")) for part in _objects(last.get("parts"))
    ]
    declared = [
        function
        for tool in _objects(body.get("tools"))
        for function in _objects(tool.get("functionDeclarations") or tool.get("function_declarations"))
    ]
    system = body.get("systemInstruction") or body.get("system_instruction")
    return Content(
        text=_last(text_of(content.get("parts")) for content in reversed(users)),
        system=text_of(_object(system).get("parts")),
        tools=_names(function.get("name") for function in declared),
        tool_results=tuple(
            (str(response.get("name", "")), _result_text(response.get("response")))
            for response in responses
            if response
        ),
        turn=1 + sum(content.get("role") == "model" for content in contents),
    )


def _responses(body: dict[str, Any]) -> Content:
    given = body.get("input")
    earlier = STORE.items(body.get("previous_response_id")) or []
    items = earlier + (_objects(given) if not isinstance(given, str) else [{"role": "user", "content": given}])
    names = {str(item.get("call_id")): str(item.get("name", "")) for item in items if item.get("type") in CALLS}
    messages = [item for item in items if "role" in item]
    results: list[tuple[str, str]] = []
    for item in reversed(items):
        if item.get("type") not in CALL_OUTPUTS:
            break
        results.append((names.get(str(item.get("call_id")), ""), text_of(item.get("output"))))
    # The assistant's words and calls are items one by one: those side by side are one turn.
    spoken = [item.get("role") == "assistant" or item.get("type") in (*CALLS, "reasoning") for item in items]
    system = [message.get("content") for message in messages if message.get("role") in ("system", "developer")]
    return Content(
        text=_last(text_of(message.get("content")) for message in reversed(messages) if message.get("role") == "user"),
        system="\n".join(text for text in map(text_of, (body.get("instructions"), *system)) if text),
        tools=_names(tool.get("name") for tool in _objects(body.get("tools")) if tool.get("type") == "function"),
        tool_results=tuple(reversed(results)),
        turn=1 + sum(now and not before for before, now in pairwise([False, *spoken])),
    )


READERS: dict[str, Callable[[dict[str, Any]], Content]] = {
    "chat": _chat,
    "messages": _messages,
    "generateContent": _generate_content,
    "responses": _responses,
}
"""api -> what its bodies say."""


def text_of(content: Any) -> str:
    """The text of a message's content: a string, or the texts of its parts."""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in _objects(content) if isinstance(part.get("text"), str))


def _result_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested deeper than orjson writes
        return ""


def _last(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _names(names: Iterable[Any]) -> tuple[str, ...]:
    return tuple(name for name in names if isinstance(name, str))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; one that stands for a list of one counts as such."""
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []

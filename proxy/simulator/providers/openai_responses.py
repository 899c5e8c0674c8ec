"""OpenAI's other wire format: POST /v1/responses, and GET and DELETE of what it remembers.

Shapes follow https://platform.openai.com/docs/api-reference/responses; `openai_responses_request.py` checks what
comes in. Keys, limits, headers and errors are those of chat completions.
"""

from __future__ import annotations

from typing import Any

from proxy.simulator.providers.openai import SNAPSHOTS
from proxy.simulator.providers.openai import authorise as authorise
from proxy.simulator.providers.openai import stream_type as stream_type
from proxy.simulator.providers.openai_errors import error as error
from proxy.simulator.providers.openai_errors import error_fields, refuse
from proxy.simulator.providers.openai_errors import headers as headers
from proxy.simulator.providers.openai_request import FIXED_SAMPLING
from proxy.simulator.providers.openai_responses_request import (
    all_answered,
    as_items,
    check,
    input_tokens,
    text_of,
)
from proxy.simulator.providers.openai_responses_store import STORE
from proxy.simulator.providers.openai_responses_stream import Event, Item, Said, item_events, written
from proxy.simulator.providers.openai_tokens import EFFORT
from proxy.simulator.providers.wire import Answer, Call, ProviderError, dumps
from proxy.simulator.replies.logprobs import TokenLogprob, logprobs
from proxy.simulator.replies.reply import (
    Choice,
    Prompt,
    Reply,
    Tool,
    ToolChoice,
    Words,
    identifier,
    json_mode_schema,
    moment,
    request_key,
    tool_to_call,
)

NAME = "openai"

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""How a reply ended -> why the response is incomplete; of any other end it is complete."""

ID_LENGTH = 40

NOTHING = Words("", ())


def read(call: Call) -> Prompt:
    body = check(call.body)
    model: str = body["model"]
    items = _conversation(body)
    all_answered(items)
    # By what was said before, not by the id it was remembered by: that one is new each time.
    content = {name: value for name, value in body.items() if name != "previous_response_id"}
    messages = [item for item in items if item.get("type", "message") == "message"]
    last_text = next((text_of(item["content"]) for item in reversed(messages) if item["role"] == "user"), "")
    offered = tuple(
        Tool(tool["name"], tool.get("parameters") or {})
        for tool in body.get("tools") or ()
        if tool["type"] == "function"
    )
    reasons = _reasons(model)
    asked = body.get("reasoning") or {}
    return Prompt(
        model=model,
        key=request_key(model, {**content, "input": items}, call.raw),
        last_text=last_text,
        prompt_tokens=input_tokens(body, items),
        limit=body.get("max_output_tokens"),
        tool=_tool(body, items, offered) if offered else None,
        schema=_schema(body, last_text),
        offered=offered,
        results=_results(items),
        thinking=reasons and asked.get("summary") is not None,
        reasoning=EFFORT.get(asked.get("effort") or "none", 0) if reasons else 0,
        logprobs=_logprobs_asked(body),
    )


def _reasons(model: str) -> bool:
    return FIXED_SAMPLING.match(model) is not None


def _conversation(body: dict[str, Any]) -> list[Item]:
    """All that was said so far, as items."""
    given = as_items(body.get("input"))
    previous = body.get("previous_response_id")
    remembered = STORE.items(previous)
    if remembered is None:
        message = f"Previous response with id '{previous}' not found."
        raise refuse(message, "previous_response_id", "previous_response_not_found")
    return [*remembered, *given]


def _tool(body: dict[str, Any], items: list[Item], offered: tuple[Tool, ...]) -> Tool | None:
    choice: Any = body.get("tool_choice") or "auto"
    name, how, callable_now = None, choice, list(offered)
    if isinstance(choice, dict):
        how = "required"
        if choice["type"] == "allowed_tools":
            allowed = [tool.get("name") for tool in choice["tools"]]
            how, callable_now = choice["mode"], [tool for tool in offered if tool.name in allowed]
        elif choice["type"] == "function":
            name = choice["name"]
        else:
            return None  # one of OpenAI's own tools: it would be done with by the time of the reply
    mode: ToolChoice = how
    last = items[-1] if items else {}
    users_turn = last.get("type", "message") == "message" and last.get("role") == "user"
    return tool_to_call(callable_now, mode, name, users_turn)


def _results(items: list[Item]) -> tuple[str, ...]:
    """The texts of the tools' results at the end."""
    found = []
    for item in reversed(items):
        if item.get("type") != "function_call_output":
            break
        found.append(text_of(item["output"]))
    return tuple(reversed(found))


def _schema(body: dict[str, Any], last_text: str) -> Any:
    wanted = (body.get("text") or {}).get("format")
    if not wanted or wanted["type"] == "text":
        return None
    return json_mode_schema(last_text) if wanted["type"] == "json_object" else wanted["schema"]


def _logprobs_asked(body: dict[str, Any]) -> int | None:
    if "message.output_text.logprobs" not in (body.get("include") or ()):
        return None
    top: int = body.get("top_logprobs") or 0
    return top


def write(call: Call, prompt: Prompt, reply: Reply) -> Answer:
    finished = _finished(call, prompt, reply, _output(call, prompt, reply.choices[0]))
    body = dumps(finished)
    _remember(call, finished, body)
    return Answer(200, body)


def _remember(call: Call, finished: dict[str, Any], body: bytes) -> None:
    if finished["store"]:
        STORE.keep(finished["id"], body, [*_conversation(call.body), *finished["output"]], len(call.raw))


def _id(call: Call) -> str:
    return "resp_" + identifier(call.request_id.encode(), "reply", ID_LENGTH)


def _finished(call: Call, prompt: Prompt, reply: Reply, output: list[Said]) -> dict[str, Any]:
    reason = INCOMPLETE.get(reply.choices[0].finish)
    return {
        **_begun(call, moment(prompt.key)),
        "status": "completed" if reason is None else "incomplete",
        "completed_at": moment(prompt.key) if reason is None else None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": [item for item, _ in output],
        "service_tier": _tier(call),
        "usage": {
            "input_tokens": reply.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
            "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        },
    }


def _tier(call: Call) -> str:
    asked = call.body.get("service_tier")
    return asked if asked in ("flex", "priority", "scale") else "default"


def _begun(call: Call, created_at: int) -> dict[str, Any]:
    """The response as a stream begins with it: the request's settings, and nothing said yet."""
    body = call.body
    model = body["model"]
    reasoning = body.get("reasoning") or {}
    text = body.get("text") or {}
    store = body.get("store") is not False
    return {
        "id": _id(call),
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": body.get("background") is True,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "model": SNAPSHOTS.get(model, model),
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {
            "effort": reasoning.get("effort") or ("medium" if _reasons(model) else None),
            "summary": reasoning.get("summary"),
        },
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "auto",
        "store": store,
        "temperature": _or_else(body.get("temperature"), 1.0),
        "text": {
            "format": _format(text.get("format")),
            "verbosity": text.get("verbosity") or "medium",
        },
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": [_tool_shown(tool) for tool in body.get("tools") or ()],
        "top_logprobs": body.get("top_logprobs") or 0,
        "top_p": _or_else(body.get("top_p"), 1.0),
        "truncation": body.get("truncation") or "disabled",
        "usage": None,
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def _or_else(value: Any, usual: float) -> Any:
    return usual if value is None else value


def _format(given: Any) -> dict[str, Any]:
    if not given:
        return {"type": "text"}
    if given["type"] != "json_schema":
        return {"type": given["type"]}
    return {
        "type": "json_schema",
        "description": given.get("description"),
        "name": given["name"],
        "schema": given["schema"],
        "strict": given.get("strict") is True,
    }


def _tool_shown(tool: dict[str, Any]) -> dict[str, Any]:
    if tool["type"] != "function":
        return tool
    return {
        "type": "function",
        "description": tool.get("description"),
        "name": tool["name"],
        "parameters": tool.get("parameters"),
        "strict": tool.get("strict") is not False,
    }


def _output(call: Call, prompt: Prompt, choice: Choice) -> list[Said]:
    """What the reply says: reasoning, message, calls of functions."""
    said: list[Said] = []
    if _reasons(prompt.model) or choice.reasoning or choice.thoughts:
        said.append((_reasoning(call, prompt, choice), choice.thoughts or NOTHING))
    if choice.text or not choice.tools:
        said.append((_message(prompt, choice), choice.words))
    for number, use in enumerate(choice.tools):
        called = {
            "id": _item_id(prompt, "fc", number),
            "type": "function_call",
            "status": "completed" if use.whole else "incomplete",
            "arguments": use.arguments.text,
            "call_id": "call_" + identifier(prompt.key, f"tool {number}", 24),
            "name": use.name,
        }
        said.append((called, use.arguments))
    return said


def _item_id(prompt: Prompt, kind: str, number: int = 0) -> str:
    return f"{kind}_" + identifier(prompt.key, f"{kind} {number}", ID_LENGTH)


def _reasoning(call: Call, prompt: Prompt, choice: Choice) -> Item:
    summary = [] if choice.thoughts is None else [{"type": "summary_text", "text": choice.thoughts.text}]
    item: Item = {"id": _item_id(prompt, "rs"), "type": "reasoning", "summary": summary}
    if "reasoning.encrypted_content" in (call.body.get("include") or ()):
        item["encrypted_content"] = "gAAAAA" + identifier(prompt.key, "encrypted", ID_LENGTH)
    return item


def _message(prompt: Prompt, choice: Choice) -> Item:
    cut_off = choice.finish in INCOMPLETE and not choice.tools
    return {
        "id": _item_id(prompt, "msg"),
        "type": "message",
        "status": "incomplete" if cut_off else "completed",
        "content": [_part(choice, choice.text, _logprobs(prompt, choice))],
        "role": "assistant",
    }


def _part(choice: Choice, text: str, listed: list[dict[str, Any]]) -> dict[str, Any]:
    if choice.refused:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "annotations": [], "logprobs": listed, "text": text}


def _logprobs(prompt: Prompt, choice: Choice) -> list[dict[str, Any]]:
    """They are told of text only."""
    if prompt.logprobs is None or choice.refused:
        return []
    listed = logprobs(prompt.key, 0, choice.words.encoded, prompt.logprobs)
    return [{**_logprob(token), "top_logprobs": [_logprob(other) for other in token.alternatives]} for token in listed]


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "bytes": list(token.raw), "logprob": token.logprob}


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    output = _output(call, prompt, reply.choices[0])
    begun, finished = _begun(call, moment(prompt.key)), _finished(call, prompt, reply, output)
    _remember(call, finished, dumps(finished))
    events: list[Event] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
    ]
    for index, (item, words) in enumerate(output):
        events += item_events(index, item, words)
    events.append((f"response.{finished['status']}", {"response": finished}))
    return [written(kind, number, fields) for number, (kind, fields) in enumerate(events)]


def schema_error(prompt: Prompt, reason: str) -> ProviderError:
    if prompt.tool is not None:
        message, param = f"Invalid schema for function '{prompt.tool.name}': {reason}", "tools[0].parameters"
        return refuse(message, param, "invalid_function_parameters")
    return refuse(f"Invalid schema for response_format: {reason}", "text.format.schema", "invalid_json_schema")


def error_event(call: Call, status: int, message: str | None = None) -> bytes:
    """The error, and then the response that failed by it, as OpenAI ends a stream."""
    said = error_fields(call, status, message)
    code = said["code"] or said["type"]
    failed = {**_begun(call, moment(call.request_id.encode())), "status": "failed"}
    failed["error"] = {"code": "rate_limit_exceeded" if status == 429 else "server_error", "message": said["message"]}
    return written("error", call.sent, {"error": {**said, "code": code}}) + written(
        "response.failed", call.sent + 1, {"response": failed}
    )


def broken_event(call: Call) -> bytes:
    broken = b'{"type":"response.output_text.delta","sequence_number":%d,"del' % call.sent
    return b"event: response.output_text.delta\ndata: " + broken + b"\n\n"


def retrieve(response_id: str) -> Answer:
    """GET /v1/responses/{id}. Raises ProviderError."""
    body = STORE.body(response_id)
    if body is None:
        raise _not_found(response_id)
    return Answer(200, body)


def delete(response_id: str) -> Answer:
    """DELETE /v1/responses/{id}. Raises ProviderError."""
    if not STORE.forget(response_id):
        raise _not_found(response_id)
    return Answer(200, dumps({"id": response_id, "object": "response", "deleted": True}))


LOOK_UPS = {"GET": retrieve, "DELETE": delete}
"""method -> what it does with the id in the path."""


def _not_found(response_id: str) -> ProviderError:
    return refuse(f"Response with id '{response_id}' not found.", status=404)

"""What OpenAI refuses in a request to the Responses API, in its own words; used by openai_responses.py.

What it shares with chat completions (types, ranges, what reasoning models refuse) is openai_request.py's.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from proxy.simulator.providers.openai_errors import missing, refuse, wrong_type, wrong_value
from proxy.simulator.providers.openai_request import (
    FIXED_SAMPLING,
    FORMATS,
    NOT_JSON,
    boolean,
    integer,
    is_known,
    number,
    options,
)
from proxy.simulator.providers.openai_tokens import file_tokens, image_tokens
from proxy.simulator.providers.wire import ProviderError
from proxy.simulator.replies import tokens

LEAST_OUTPUT_TOKENS = 16

ROLES = ("assistant", "system", "developer", "user")
PARTS = ("input_text", "input_image", "output_text", "refusal", "input_file", "computer_screenshot", "summary_text")
ASSISTANTS_PARTS = ("output_text", "refusal")
ITEMS = (
    *("message", "function_call", "function_call_output", "reasoning", "item_reference", "compaction"),
    *("custom_tool_call", "custom_tool_call_output", "file_search_call", "web_search_call", "image_generation_call"),
    *("computer_call", "computer_call_output", "code_interpreter_call", "local_shell_call", "local_shell_call_output"),
    *("shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output"),
    *("mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "mcp_call"),
    *("tool_search_call", "tool_search_output"),
)
TOOLS = (
    *("function", "custom", "file_search", "web_search", "web_search_2025_08_26", "web_search_preview"),
    *("web_search_preview_2025_03_11", "computer", "computer_use_preview", "code_interpreter", "image_generation"),
    *("mcp", "local_shell", "shell", "apply_patch", "tool_search", "namespace"),
)
CHOICES = ("none", "auto", "required")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
SUMMARIES = ("auto", "concise", "detailed")

MOVED = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
"""Parameters of chat completions -> what they are called here."""

NO_INPUT = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided."


def check(body: Any) -> dict[str, Any]:
    """The body, found to be one that OpenAI takes. Raises ProviderError."""
    if not isinstance(body, dict):
        raise refuse(NOT_JSON)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise missing("model")
    if not is_known(model):
        raise refuse(f"The requested model '{model}' does not exist.", "model", "model_not_found")
    for name, moved in MOVED.items():
        if body.get(name) is not None:
            raise refuse(
                f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to '{moved}'. Try "
                "again with the new parameter. See the API documentation for more information: "
                "https://platform.openai.com/docs/api-reference/responses/create.",
                None,
                "unsupported_parameter",
            )
    _input(body)
    number(body, "temperature", 0, 2)
    number(body, "top_p", 0, 1)
    integer(body, "max_output_tokens", LEAST_OUTPUT_TOKENS, None)
    integer(body, "top_logprobs", 0, 20)
    for name in ("stream", "store", "background", "parallel_tool_calls"):
        boolean(body, name)
    options(body)
    _metadata(body.get("metadata"))
    _include(body.get("include"))
    _elsewhere(body)
    _tools(body)
    _text(body)
    _reasoning(model, body)
    return body


def _input(body: dict[str, Any]) -> None:
    given = body.get("input")
    if given is None:
        if not any(body.get(name) is not None for name in ("previous_response_id", "prompt", "conversation")):
            raise refuse(NO_INPUT, None, "missing_required_parameter")
    elif isinstance(given, list):
        for index, item in enumerate(given):
            _item(item, f"input[{index}]")
    elif not isinstance(given, str):
        raise wrong_type("input", "one of an array of objects or string", given)
    instructions = body.get("instructions")
    if not isinstance(instructions, (str, type(None))):
        raise wrong_type("instructions", "a string", instructions)


def _item(item: Any, at: str) -> None:
    if not isinstance(item, dict):
        raise wrong_type(at, "an object", item)
    kind = item.get("type", "message" if "role" in item else None)
    if kind is None:
        raise missing(f"{at}.type")
    if kind not in ITEMS:
        raise wrong_value(f"{at}.type", kind, ITEMS)
    if kind == "message":
        _message(item, at)
    elif kind == "function_call":
        for name in ("call_id", "name", "arguments"):
            _string(item, name, at)
    elif kind == "function_call_output":
        _string(item, "call_id", at)
        _output(item, at)
    elif kind == "item_reference":
        _string(item, "id", at)


def _string(item: dict[str, Any], name: str, at: str) -> None:
    if name not in item:
        raise missing(f"{at}.{name}")
    if not isinstance(item[name], str):
        raise wrong_type(f"{at}.{name}", "a string", item[name])


def _message(item: dict[str, Any], at: str) -> None:
    if "role" not in item:
        raise missing(f"{at}.role")
    role = item["role"]
    if role not in ROLES:
        raise wrong_value(f"{at}.role", role, ROLES)
    if "content" not in item:
        raise missing(f"{at}.content")
    if not isinstance(item["content"], str):
        _parts(item["content"], f"{at}.content", ASSISTANTS_PARTS if role == "assistant" else PARTS)


def _output(item: dict[str, Any], at: str) -> None:
    if "output" not in item:
        raise missing(f"{at}.output")
    if not isinstance(item["output"], str):
        _parts(item["output"], f"{at}.output", PARTS)


def _parts(content: Any, at: str, allowed: tuple[str, ...]) -> None:
    if not isinstance(content, list):
        raise wrong_type(at, "one of an array of objects or string", content)
    for index, part in enumerate(content):
        where = f"{at}[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object", part)
        if "type" not in part:
            raise missing(f"{where}.type")
        # What no item has is said first, with all there is; then what this role's have not.
        if part["type"] not in PARTS:
            raise wrong_value(f"{where}.type", part["type"], PARTS)
        if part["type"] not in allowed:
            raise wrong_value(f"{where}.type", part["type"], allowed)
        if part["type"] in ("input_text", "output_text", "summary_text"):
            _string(part, "text", where)
        elif part["type"] == "refusal":
            _string(part, "refusal", where)


def all_answered(items: list[Any]) -> None:
    """Raises ProviderError where a call of a tool has no output in the conversation, or an output no call."""
    waiting: dict[str, None] = {}
    for item in items:
        kind = item.get("type")
        if kind == "function_call":
            waiting[item["call_id"]] = None
        elif kind == "function_call_output":
            if item["call_id"] not in waiting:
                raise refuse(f"No tool call found for function call output with call_id {item['call_id']}.", "input")
            del waiting[item["call_id"]]
    for call_id in waiting:
        raise refuse(f"No tool output found for function call {call_id}.", "input")


def _metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise wrong_type("metadata", "an object", metadata)
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{name}", "a string", value)


def _include(include: Any) -> None:
    if include is not None and not (isinstance(include, list) and all(isinstance(one, str) for one in include)):
        raise wrong_type("include", "an array of strings", include)


def _elsewhere(body: dict[str, Any]) -> None:
    """Things kept at OpenAI: of responses the simulator has its own, of conversations and prompts none."""
    previous = body.get("previous_response_id")
    if previous is not None:
        if not isinstance(previous, str):
            raise wrong_type("previous_response_id", "a string", previous)
        if not previous.startswith("resp"):
            message = f"Invalid 'previous_response_id': '{previous}'. Expected an ID that begins with 'resp'."
            raise refuse(message, "previous_response_id", "invalid_value")
    conversation = body.get("conversation")
    if conversation is not None:
        name = conversation.get("id") if isinstance(conversation, dict) else conversation
        raise refuse(f"Conversation with id '{name}' not found.", status=404)
    prompt = body.get("prompt")
    if prompt is not None:
        name = prompt.get("id") if isinstance(prompt, dict) else prompt
        raise refuse(f"Prompt with id '{name}' not found.", "prompt", status=404)


def _tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise wrong_type("tools", "an array of objects", tools)
    names = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools or ())]
    choice = body.get("tool_choice")
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in CHOICES:
            raise wrong_value("tool_choice", choice, CHOICES)
        if choice == "required" and not names:
            message = "Tool choice 'required' must be specified with 'tools' parameter."
            raise refuse(message, "tool_choice")
        return
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "one of an object or string", choice)
    if choice.get("type") == "allowed_tools":
        _allowed(choice, names)
    elif choice.get("type") == "function":
        _string(choice, "name", "tool_choice")
        _is_offered(choice["name"], names)
    elif choice.get("type") not in TOOLS:
        raise wrong_value("tool_choice.type", choice.get("type"), (*TOOLS, "allowed_tools"))


def _is_offered(name: str, names: list[str | None]) -> None:
    if name not in names:
        raise refuse(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def _allowed(choice: dict[str, Any], names: list[str | None]) -> None:
    if choice.get("mode") not in ("auto", "required"):
        raise wrong_value("tool_choice.mode", choice.get("mode"), ("auto", "required"))
    tools = choice.get("tools")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise wrong_type("tool_choice.tools", "an array of objects", tools)
    for index, tool in enumerate(tools):
        if tool.get("type") == "function":
            _string(tool, "name", f"tool_choice.tools[{index}]")
            _is_offered(tool["name"], names)


def _tool(tool: Any, at: str) -> str | None:
    """The name of the function offered; None for what is no function."""
    if not isinstance(tool, dict):
        raise wrong_type(at, "an object", tool)
    if "type" not in tool:
        raise missing(f"{at}.type")
    if tool["type"] not in TOOLS:
        raise wrong_value(f"{at}.type", tool["type"], TOOLS)
    if tool["type"] != "function":
        return None
    _string(tool, "name", at)
    name: str = tool["name"]
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        message = f"Invalid '{at}.name': string does not match pattern. Expected a string that matches the "
        raise refuse(message + "pattern '^[a-zA-Z0-9_-]+$'.", f"{at}.name", "invalid_value")
    return name


def _text(body: dict[str, Any]) -> None:
    text = body.get("text")
    if text is None:
        return
    if not isinstance(text, dict):
        raise wrong_type("text", "an object", text)
    wanted = text.get("format")
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise wrong_type("text.format", "an object", wanted)
    if wanted.get("type") not in FORMATS:
        raise wrong_value("text.format.type", wanted.get("type"), FORMATS)
    if wanted["type"] == "json_object":
        said = orjson.dumps([body.get("input"), body.get("instructions")]).lower()
        if b"json" not in said:
            message = (
                "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                "'json_object'."
            )
            raise refuse(message, "input")
    if wanted["type"] == "json_schema":
        _string(wanted, "name", "text.format")
        if not isinstance(wanted.get("schema"), dict):
            raise missing("text.format.schema")


def _reasoning(model: str, body: dict[str, Any]) -> None:
    """Reasoning, and what reasoning models refuse (https://platform.openai.com/docs/guides/reasoning)."""
    reasons = FIXED_SAMPLING.match(model) is not None
    reasoning = body.get("reasoning")
    if reasoning is not None:
        if not isinstance(reasoning, dict):
            raise wrong_type("reasoning", "an object", reasoning)
        for name, known in (("effort", EFFORTS), ("summary", SUMMARIES)):
            value = reasoning.get(name)
            if value is None:
                continue
            if value not in known:
                raise wrong_value(f"reasoning.{name}", value, known)
            if not reasons:
                raise _unsupported(f"reasoning.{name}")
    if not reasons:
        return
    for name in ("temperature", "top_p", "top_logprobs"):
        if body.get(name) not in (None, 0 if name == "top_logprobs" else 1):
            raise _unsupported(name)


def _unsupported(name: str) -> ProviderError:
    return refuse(f"Unsupported parameter: '{name}' is not supported with this model.", name, "unsupported_parameter")


def as_items(given: Any) -> list[Any]:
    """A request's input as items."""
    if isinstance(given, str):
        part = {"type": "input_text", "text": given}
        return [{"type": "message", "role": "user", "content": [part]}]
    return given or []


def text_of(content: Any) -> str:
    """What a message, or a tool's output, says."""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] in ("input_text", "output_text", "summary_text"))


def input_tokens(body: dict[str, Any], items: list[Any]) -> int:
    """What a request counts as: as a chat completion does (see openai_request.prompt_tokens)."""
    total = 3
    if body.get("instructions"):
        total += 4 + tokens.count(body["instructions"])
    for item in items:
        total += 4
        kind = item.get("type", "message")
        if kind == "function_call":
            total += tokens.count(item["name"]) + tokens.count(item["arguments"])
        elif kind in ("message", "function_call_output"):
            content = item["content"] if kind == "message" else item["output"]
            total += tokens.count(text_of(content))
            if not isinstance(content, str):
                total += sum(_part_tokens(part) for part in content)
    if body.get("tools"):
        total += tokens.count(orjson.dumps(body["tools"]).decode())
    return total


def _part_tokens(part: dict[str, Any]) -> int:
    if part["type"] == "input_image":
        return image_tokens(part.get("detail"))
    return file_tokens(part.get("file_data")) if part["type"] == "input_file" else 0

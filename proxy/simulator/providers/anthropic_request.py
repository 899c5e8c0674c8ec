"""What Anthropic refuses in a Messages request, in its own words; used by anthropic.py."""

from __future__ import annotations

from typing import Any

from proxy.simulator.providers.anthropic_errors import refuse
from proxy.simulator.providers.wire import Call, is_integer, is_number

BLOCKS = (
    "text",
    "image",
    "document",
    "search_result",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
    "compaction",
)
TOOL_CHOICES = ("auto", "any", "tool", "none")
THINKING = ("enabled", "disabled", "between_tools", "adaptive")
LEAST_BUDGET = 1024
MOST_BREAKPOINTS = 4
"""Places of a request that may be marked with cache_control."""
LIMITS_PAGE = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking"


def check(call: Call) -> dict[str, Any]:
    """The body, found to be one that Anthropic takes. Raises ProviderError, a 400."""
    if b"anthropic-version" not in call.headers:
        raise refuse(call, "anthropic-version: header is required")
    body = call.body
    if not isinstance(body, dict):
        raise refuse(call, "The request body is not valid JSON: expected an object")
    problem = _problem(body)
    if problem is not None:
        raise refuse(call, problem)
    return body


def _problem(body: dict[str, Any]) -> str | None:
    """The first thing wrong with the body, as the API's message says it."""
    for name in ("model", "messages", "max_tokens"):
        if name not in body:
            return f"{name}: Field required"
    if not isinstance(body["model"], str) or not body["model"]:
        return "model: Input should be a valid string"
    if not is_integer(body["max_tokens"]):
        return "max_tokens: Input should be a valid integer"
    if body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    return (
        _settings_problem(body)
        or _messages_problem(body["messages"])
        or _tools_problem(body)
        or _thinking_problem(body)
        or _cache_problem(body)
    )


def _settings_problem(body: dict[str, Any]) -> str | None:
    temperature, stop, system = body.get("temperature"), body.get("stop_sequences"), body.get("system")
    if temperature is not None and not is_number(temperature):
        return "temperature: Input should be a valid number"
    if temperature is not None and not 0 <= temperature <= 1:
        return "temperature: range: 0..1"
    if stop is not None and not (isinstance(stop, list) and all(isinstance(one, str) for one in stop)):
        return "stop_sequences: Input should be a valid list of strings"
    if any(not one.strip() for one in stop or ()):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    if not isinstance(body.get("stream"), (bool, type(None))):
        return "stream: Input should be a valid boolean"
    problem = None if system is None or isinstance(system, str) else _blocks_problem(system, "system")
    if problem is not None:
        return problem
    for name in ("output_config", "output_format"):
        if not isinstance(body.get(name), (dict, type(None))):
            return f"{name}: Input should be an object"
    wanted = (body.get("output_config") or {}).get("format")
    return None if isinstance(wanted, (dict, type(None))) else "output_config.format: Input should be an object"


def _messages_problem(messages: Any) -> str | None:
    if not isinstance(messages, list):
        return "messages: Input should be a valid list"
    if not messages:
        return "messages: at least one message is required"
    for index, message in enumerate(messages):
        problem = _message_problem(message, index, last=index == len(messages) - 1)
        if problem is not None:
            return problem
    return _tool_turns_problem(messages)


def _message_problem(message: Any, index: int, last: bool) -> str | None:
    at = f"messages.{index}"
    if not isinstance(message, dict):
        return f"{at}: Input should be an object"
    for name in ("role", "content"):
        if name not in message:
            return f"{at}.{name}: Field required"
    role, content = message["role"], message["content"]
    if role == "system":
        return (
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not '
            '"system" as an input message role.'
        )
    if role not in ("user", "assistant"):
        return f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant"'
    if not content and isinstance(content, (str, list)) and not (last and role == "assistant"):
        return f"{at}: all messages must have non-empty content except for the optional final assistant message"
    return None if isinstance(content, str) else _blocks_problem(content, f"{at}.content")


def _blocks_problem(blocks: Any, at: str) -> str | None:
    if not isinstance(blocks, list):
        return f"{at}: Input should be a valid list"
    for index, block in enumerate(blocks):
        where = f"{at}.{index}"
        if not isinstance(block, dict):
            return f"{where}: Input should be an object"
        if "type" not in block:
            return f"{where}.type: Field required"
        if block["type"] not in BLOCKS:
            expected = ", ".join(f"'{one}'" for one in BLOCKS)
            found = f"Input tag '{block['type']}' found using 'type'"
            return f"{where}: {found} does not match any of the expected tags: {expected}"
        if block["type"] == "text" and not isinstance(block.get("text"), str):
            return f"{where}.text.text: " + ("Input should be a valid string" if "text" in block else "Field required")
        if block["type"] == "text" and not block["text"]:
            return "messages: text content blocks must be non-empty"
        if block["type"] == "tool_result" and not isinstance(block.get("content"), (str, type(None))):
            problem = _blocks_problem(block["content"], f"{where}.tool_result.content")
            if problem is not None:
                return problem
    return None


def _tool_turns_problem(messages: list[dict[str, Any]]) -> str | None:
    """Every tool_use is answered by a tool_result in the next message, and there is no other tool_result."""
    awaited: list[str] = []
    for index, message in enumerate(messages):
        blocks = message["content"] if isinstance(message["content"], list) else []
        answered = [block.get("tool_use_id") for block in blocks if block["type"] == "tool_result"]
        missing = [one for one in awaited if one not in answered]
        if missing:
            return (
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        for one in answered:
            if one not in awaited:
                return (
                    f"messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {one}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        awaited = [str(block.get("id")) for block in blocks if block["type"] == "tool_use"]
    return None


def custom_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The client's own tools; what else there is (web search and the like) runs at the provider."""
    return [tool for tool in body.get("tools") or () if tool.get("type") in (None, "custom")]


def _tools_problem(body: dict[str, Any]) -> str | None:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if tools is not None and not isinstance(tools, list):
        return "tools: Input should be a valid list"
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict):
            return f"tools.{index}: Input should be an object"
        if not isinstance(tool.get("name"), str):
            return f"tools.{index}.custom.name: Field required"
        if tool.get("type") in (None, "custom") and not isinstance(tool.get("input_schema"), dict):
            return f"tools.{index}.custom.input_schema: Field required"
    if choice is None:
        return None
    if not isinstance(choice, dict) or choice.get("type") not in TOOL_CHOICES:
        expected = ", ".join(f"'{one}'" for one in TOOL_CHOICES)
        return f"tool_choice: Input tag does not match any of the expected tags: {expected}"
    if not tools:
        return "tool_choice: tool_choice may only be specified while providing tools."
    if choice["type"] == "tool" and choice.get("name") not in [tool["name"] for tool in tools]:
        return f"tool_choice: Tool '{choice.get('name')}' not found in provided tools"
    return None


def _thinking_problem(body: dict[str, Any]) -> str | None:
    """https://docs.claude.com/en/docs/build-with-claude/extended-thinking"""
    thinking = body.get("thinking")
    if thinking is None:
        return None
    if not isinstance(thinking, dict) or thinking.get("type") not in THINKING:
        expected = ", ".join(f"'{one}'" for one in THINKING)
        return f"thinking: Input tag does not match any of the expected tags: {expected}"
    if thinking["type"] == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or isinstance(budget, bool):
            return "thinking.enabled.budget_tokens: " + (
                "Input should be a valid integer" if "budget_tokens" in thinking else "Field required"
            )
        if budget < LEAST_BUDGET:
            return f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}"
        if budget >= body["max_tokens"]:
            page = f"{LIMITS_PAGE}#max-tokens-and-context-window-size"
            return f"`max_tokens` must be greater than `thinking.budget_tokens`. {page}"
    if thinking["type"] == "disabled":
        return None
    if body.get("temperature") not in (None, 1):
        return f"`temperature` may only be set to 1 when thinking is enabled. {LIMITS_PAGE}"
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def is_thinking(body: dict[str, Any], after_tools: bool) -> bool:
    """Whether the reply begins with a thinking block."""
    kind = (body.get("thinking") or {}).get("type")
    return kind in ("enabled", "adaptive") or (kind == "between_tools" and after_tools)


def _cache_problem(body: dict[str, Any]) -> str | None:
    """https://docs.claude.com/en/docs/build-with-claude/prompt-caching"""
    lists = [body.get("system"), body.get("tools"), *(message["content"] for message in body["messages"])]
    marked = [
        part["cache_control"]
        for parts in lists
        if isinstance(parts, list)
        for part in parts
        if part.get("cache_control") is not None
    ]
    if len(marked) > MOST_BREAKPOINTS:
        return f"A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marked)}."
    if any(not isinstance(mark, dict) or mark.get("type") != "ephemeral" for mark in marked):
        return "cache_control: Input tag does not match any of the expected tags: 'ephemeral'"
    return None

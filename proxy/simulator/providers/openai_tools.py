"""What OpenAI refuses in the tools of a chat completion request; used by openai_request.py."""

from __future__ import annotations

import re
from typing import Any

from proxy.simulator.providers.openai_errors import missing, refuse, wrong_type, wrong_value

CHOICES = ("function", "custom", "allowed_tools")


def check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise wrong_type("tools", "an array of objects", tools)
    names = [_tool(tool, index) for index, tool in enumerate(tools or ())]
    choice = body.get("tool_choice")
    if choice is not None:
        _choice(choice, [name for name in names if name is not None], bool(tools))


def _choice(choice: Any, names: list[str], offered: bool) -> None:
    if not offered and choice != "none":
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        raise refuse(message, "tool_choice")
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise wrong_value("tool_choice", choice, ("none", "auto", "required"))
        return
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "one of a string or object", choice)
    kind = choice.get("type", "function")
    if kind not in CHOICES:
        raise wrong_value("tool_choice.type", kind, CHOICES)
    if kind == "allowed_tools":
        _allowed(choice.get("allowed_tools"))
        return
    name = _name(choice, kind)
    if name is None:
        raise missing(f"tool_choice.{kind}")
    if name not in names:
        raise refuse(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def _allowed(allowed: Any) -> None:
    at = "tool_choice.allowed_tools"
    if not isinstance(allowed, dict):
        raise missing(at)
    if allowed.get("mode") not in ("auto", "required"):
        raise wrong_value(f"{at}.mode", allowed.get("mode"), ("auto", "required"))
    tools = allowed.get("tools")
    if not isinstance(tools, list):
        raise wrong_type(f"{at}.tools", "an array of objects", tools)
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or _name(tool, tool.get("type")) is None:
            raise missing(f"{at}.tools[{index}].function")


def _name(tool: dict[str, Any], kind: Any) -> str | None:
    """The name in what points at a tool, `{"type": kind, kind: {"name": …}}`."""
    named = tool.get(kind) if isinstance(kind, str) else None
    name = named.get("name") if isinstance(named, dict) else None
    return name if isinstance(name, str) else None


def _tool(tool: Any, index: int) -> str | None:
    """The name of the tool offered; None where it has none that matters."""
    at = f"tools[{index}]"
    if not isinstance(tool, dict):
        raise wrong_type(at, "an object", tool)
    if "type" not in tool:
        raise missing(f"{at}.type")
    if tool["type"] != "function":
        if tool["type"] != "custom":
            raise wrong_value(f"{at}.type", tool["type"], ("function", "custom"))
        return _name(tool, "custom")
    function = tool.get("function")
    if not isinstance(function, dict):
        raise missing(f"{at}.function") if function is None else wrong_type(f"{at}.function", "an object", function)
    name = function.get("name")
    if not isinstance(name, str):
        raise missing(f"{at}.function.name")
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
        message = f"Invalid '{at}.function.name': string does not match pattern. Expected a string that matches the "
        raise refuse(message + "pattern '^[a-zA-Z0-9_-]+$'.", f"{at}.function.name", "invalid_value")
    return name

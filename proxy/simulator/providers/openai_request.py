"""What OpenAI refuses in a chat completion request, in its own words; used by openai.py."""

from __future__ import annotations

import re
from typing import Any

import orjson

from proxy.simulator.providers.openai_errors import missing, refuse, wrong_type, wrong_value
from proxy.simulator.providers.openai_tools import check_tools
from proxy.simulator.providers.wire import is_integer, is_number

KNOWN = re.compile(r"^(ft:)?(gpt-|chatgpt-|o\d)")
NEEDS_COMPLETION_TOKENS = re.compile(r"^(o\d|gpt-5(?!.*-chat))")
"""Models that refuse max_tokens."""
FIXED_SAMPLING = re.compile(r"^(o\d|gpt-5(?!\.\d)(?!.*-chat))")
"""Models that refuse to be sampled otherwise than by default."""

ROLES = ("system", "assistant", "user", "function", "tool", "developer")
PARTS = ("text", "image_url", "input_audio", "refusal", "audio", "file")
FORMATS = ("text", "json_object", "json_schema")

NUMBERS = {"temperature": (0, 2), "top_p": (0, 1), "presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
INTEGERS = {"max_tokens": (1, None), "max_completion_tokens": (1, None), "n": (1, 128), "top_logprobs": (0, 20)}
"""What must be within bounds, both included."""

PLAIN = {"model", "messages", "stream"}
"""What every request has; many have no more."""

NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)


def is_known(model: str) -> bool:
    return KNOWN.match(model) is not None


def check(body: Any) -> dict[str, Any]:
    """The body, found to be one that OpenAI takes. Raises ProviderError, a 400."""
    if not isinstance(body, dict):
        raise refuse(NOT_JSON)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise refuse("you must provide a model parameter")
    _messages(body)
    boolean(body, "stream")
    if not PLAIN.issuperset(body):
        _settings(model, body)
    return body


def _settings(model: str, body: dict[str, Any]) -> None:
    for name, (low, high) in NUMBERS.items():
        number(body, name, low, high)
    for name, (least, most) in INTEGERS.items():
        integer(body, name, least, most)
    boolean(body, "logprobs")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise refuse(message, "top_logprobs")
    options(body)
    _stop(body.get("stop"))
    check_tools(body)
    _response_format(body)
    _model_limits(model, body)


def _messages(body: dict[str, Any]) -> None:
    if "messages" not in body:
        raise missing("messages")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise refuse(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            "messages",
            "empty_array",
        )
    awaited = NONE_AWAITED
    for index, message in enumerate(messages):
        at = f"messages[{index}]"
        if not isinstance(message, dict):
            raise wrong_type(at, "an object", message)
        if "role" not in message:
            raise missing(f"{at}.role")
        if message["role"] not in ROLES:
            raise wrong_value(f"{at}.role", message["role"], ROLES)
        _content(message, at)
        awaited = _tool_turn(message, index, awaited)
    _all_answered(awaited, len(messages))


NONE_AWAITED: list[str] = []


def _content(message: dict[str, Any], at: str) -> None:
    content = message.get("content")
    if content is None:
        if message["role"] == "assistant" and (message.get("tool_calls") or message.get("function_call")):
            return
        raise refuse("Invalid value for 'content': expected a string, got null.", f"{at}.content")
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong_type(f"{at}.content", "one of a string or array of objects", content)
    for index, part in enumerate(content):
        where = f"{at}.content[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object", part)
        if "type" not in part:
            raise missing(f"{where}.type")
        if part["type"] not in PARTS:
            raise wrong_value(f"{where}.type", part["type"], PARTS)
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise (
                missing(f"{where}.text")
                if "text" not in part
                else wrong_type(f"{where}.text", "a string", part["text"])
            )


def _tool_turn(message: dict[str, Any], index: int, awaited: list[str]) -> list[str]:
    """The ids of tool calls that still want an answer after this message."""
    if message["role"] == "tool":
        if message.get("tool_call_id") not in awaited:
            raise refuse(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                "'tool_calls'.",
                f"messages.[{index}].role",
            )
        return [one for one in awaited if one != message["tool_call_id"]]
    _all_answered(awaited, index)
    calls = message.get("tool_calls")
    if not calls:
        return NONE_AWAITED
    if not isinstance(calls, (list, tuple)) or not all(isinstance(call, dict) for call in calls):
        raise wrong_type(f"messages[{index}].tool_calls", "an array of objects", calls)
    return [str(call.get("id")) for call in calls]


def _all_answered(awaited: list[str], index: int) -> None:
    if awaited:
        raise refuse(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            "'tool_call_id'. The following tool_call_ids did not have response messages: " + ", ".join(awaited),
            f"messages.[{index}].role",
        )


def number(body: dict[str, Any], name: str, low: float, high: float) -> None:
    value = body.get(name)
    if value is None:
        return
    if not is_number(value):
        raise wrong_type(name, "a decimal", value)
    if value < low:
        message = f"decimal below minimum value. Expected a value >= {low}, but got {value} instead."
        raise refuse(f"Invalid '{name}': {message}", name, "decimal_below_min_value")
    if value > high:
        message = f"decimal above maximum value. Expected a value <= {high}, but got {value} instead."
        raise refuse(f"Invalid '{name}': {message}", name, "decimal_above_max_value")


def integer(body: dict[str, Any], name: str, low: int, high: int | None) -> None:
    value = body.get(name)
    if value is None:
        return
    if not is_integer(value):
        raise wrong_type(name, "an integer", value)
    if value < low:
        message = f"integer below minimum value. Expected a value >= {low}, but got {value} instead."
        raise refuse(f"Invalid '{name}': {message}", name, "integer_below_min_value")
    if high is not None and value > high:
        message = f"integer above maximum value. Expected a value <= {high}, but got {value} instead."
        raise refuse(f"Invalid '{name}': {message}", name, "integer_above_max_value")


def boolean(body: dict[str, Any], name: str) -> None:
    if not isinstance(body.get(name), (bool, type(None))):
        raise wrong_type(name, "a boolean", body[name])


def options(body: dict[str, Any]) -> None:
    options = body.get("stream_options")
    if options is None:
        return
    if not isinstance(options, dict):
        raise wrong_type("stream_options", "an object", options)
    if not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise refuse(message, "stream_options")


def _stop(stop: Any) -> None:
    if stop is None or isinstance(stop, str):
        return
    if not isinstance(stop, list) or not all(isinstance(one, str) for one in stop):
        raise wrong_type("stop", "one of a string or array of strings", stop)
    if len(stop) > 4:
        message = f"array too long. Expected an array with maximum length 4, but got an array with length {len(stop)}"
        raise refuse(f"Invalid 'stop': {message} instead.", "stop", "array_above_max_length")


def _response_format(body: dict[str, Any]) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise wrong_type("response_format", "an object", wanted)
    if wanted.get("type") not in FORMATS:
        raise wrong_value("response_format.type", wanted.get("type"), FORMATS)
    if wanted["type"] == "json_object" and b"json" not in orjson.dumps(body["messages"]).lower():
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        )
        raise refuse(message, "messages")
    if wanted["type"] == "json_schema":
        described = wanted.get("json_schema")
        if not isinstance(described, dict):
            raise missing("response_format.json_schema")
        if not isinstance(described.get("name"), str):
            raise missing("response_format.json_schema.name")


def _model_limits(model: str, body: dict[str, Any]) -> None:
    """What reasoning models refuse (https://platform.openai.com/docs/guides/reasoning)."""
    if body.get("max_tokens") is not None and NEEDS_COMPLETION_TOKENS.match(model):
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise refuse(message, "max_tokens", "unsupported_parameter")
    if not FIXED_SAMPLING.match(model):
        return
    if body.get("temperature") not in (None, 1):
        message = (
            f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. "
            "Only the default (1) value is supported."
        )
        raise refuse(message, "temperature", "unsupported_value")
    for name in ("top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", "stop"):
        if body.get(name):
            message = f"Unsupported parameter: '{name}' is not supported with this model."
            raise refuse(message, name, "unsupported_parameter")


def texts(content: Any) -> list[str]:
    """The texts of a message's content."""
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if part["type"] == "text"]

"""What Gemini refuses in a generateContent request, in its own words; used by gemini.py.

Being protobuf's JSON, requests may spell every field in camelCase or snake_case: `either` reads both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.simulator.providers.gemini_errors import refuse
from proxy.simulator.providers.wire import ProviderError, is_integer, is_number

SCHEMA_TYPES = {"STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"}


def either(fields: Mapping[str, Any], camel: str, snake: str) -> Any:
    value = fields.get(camel)
    return value if value is not None else fields.get(snake)


def check(body: Any) -> dict[str, Any]:
    """The body, found to be one that Gemini takes, with `contents` a list. Raises ProviderError, a 400."""
    if not isinstance(body, dict):
        raise refuse("Invalid JSON payload received. Unexpected token.")
    checked: dict[str, Any] = dict(body)
    contents = body.get("contents")
    if isinstance(contents, dict):  # protobuf's JSON takes one for a list of one
        checked["contents"] = [contents]
    elif contents is not None and not isinstance(contents, list):
        raise _invalid("contents", "type.googleapis.com/google.ai.generativelanguage.v1beta.Content", contents)
    if not contents:
        raise refuse("* GenerateContentRequest.contents: contents is not specified\n")
    for index, content in enumerate(checked["contents"]):
        _content(content, f"contents[{index}]")
    system = either(checked, "systemInstruction", "system_instruction")
    if system is not None:
        _content(system, "system_instruction")
    _generation_config(either(checked, "generationConfig", "generation_config"))
    _tools(checked)
    return checked


def _invalid(field: str, kind: str, value: Any) -> ProviderError:
    return refuse(f"Invalid value at '{field}' ({kind}), {orjson.dumps(value).decode()[:200]}")


def _content(content: Any, at: str) -> None:
    if not isinstance(content, dict):
        raise _invalid(at, "type.googleapis.com/google.ai.generativelanguage.v1beta.Content", content)
    if content.get("role", "user") not in ("user", "model", "function", "system"):
        raise refuse("Please use a valid role: user, model.")
    parts = content.get("parts")
    if not isinstance(parts, list):
        if isinstance(parts, dict):
            content["parts"] = parts = [parts]
        elif parts is not None:
            raise _invalid(f"{at}.parts", "type.googleapis.com/google.ai.generativelanguage.v1beta.Part", parts)
    if not parts:
        raise refuse(f"* GenerateContentRequest.{at}.parts: contents.parts must not be empty.\n")
    for index, part in enumerate(parts):
        where = f"{at}.parts[{index}]"
        if not isinstance(part, dict):
            raise _invalid(where, "type.googleapis.com/google.ai.generativelanguage.v1beta.Part", part)
        if not isinstance(part.get("text", ""), str):
            raise _invalid(f"{where}.text", "TYPE_STRING", part["text"])
        if not part:
            raise refuse(
                f"* GenerateContentRequest.{where}.data: required oneof field 'data' must have one initialized field\n"
            )


def _generation_config(config: Any) -> None:
    if config is None:
        return
    if not isinstance(config, dict):
        raise _invalid("generation_config", "GenerationConfig", config)
    for camel, snake in (("maxOutputTokens", "max_output_tokens"), ("candidateCount", "candidate_count")):
        value = either(config, camel, snake)
        if value is not None and not is_integer(value):
            raise _invalid(f"generation_config.{snake}", "TYPE_INT32", value)
        if value is not None and value < 1:
            raise refuse(f"* GenerateContentRequest.generation_config.{snake}: {snake} must be positive.\n")
    if (either(config, "candidateCount", "candidate_count") or 1) > 8:
        raise refuse("* GenerateContentRequest.generation_config.candidate_count: must be in the range [1, 8].\n")
    temperature = config.get("temperature")
    if temperature is not None and not is_number(temperature):
        raise _invalid("generation_config.temperature", "TYPE_FLOAT", temperature)
    if temperature is not None and not 0 <= temperature <= 2:
        raise refuse(
            "* GenerateContentRequest.generation_config.temperature: temperature must be in the range [0.0, 2.0].\n"
        )
    _logprobs(config)
    thinking = either(config, "thinkingConfig", "thinking_config")
    if not isinstance(thinking, (dict, type(None))):
        raise _invalid("generation_config.thinking_config", "ThinkingConfig", thinking)
    stop = either(config, "stopSequences", "stop_sequences")
    if stop is not None and not (isinstance(stop, list) and all(isinstance(one, str) for one in stop)):
        raise _invalid("generation_config.stop_sequences", "TYPE_STRING", stop)


def _logprobs(config: dict[str, Any]) -> None:
    asked, top = either(config, "responseLogprobs", "response_logprobs"), config.get("logprobs")
    if not isinstance(asked, (bool, type(None))):
        raise _invalid("generation_config.response_logprobs", "TYPE_BOOL", asked)
    if top is None:
        return
    if not is_integer(top):
        raise _invalid("generation_config.logprobs", "TYPE_INT32", top)
    if not asked:
        message = "logprobs is only allowed when response_logprobs is true."
        raise refuse(f"* GenerateContentRequest.generation_config.logprobs: {message}\n")
    if not 0 <= top <= 20:
        raise refuse("* GenerateContentRequest.generation_config.logprobs: must be in the range [0, 20].\n")


def _tools(body: dict[str, Any]) -> None:
    tools = body.get("tools")
    if isinstance(tools, dict):
        body["tools"] = tools = [tools]
    if tools is not None and not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise _invalid("tools", "type.googleapis.com/google.ai.generativelanguage.v1beta.Tool", tools)
    for tool in tools or ():
        declared_here = either(tool, "functionDeclarations", "function_declarations")
        if not isinstance(declared_here, (list, type(None))):
            raise _invalid("tools[0].function_declarations", "FunctionDeclaration", declared_here)
    for declared in declarations(body):
        if not isinstance(declared, dict) or not isinstance(declared.get("name"), str) or not declared["name"]:
            raise refuse(
                "* GenerateContentRequest.tools[0].function_declarations[0].name: Invalid function name. Must "
                "start with a letter or an underscore.\n"
            )
    config = either(body, "toolConfig", "tool_config")
    calling = either(config, "functionCallingConfig", "function_calling_config") if isinstance(config, dict) else config
    if calling is not None and not isinstance(calling, dict):
        raise _invalid("tool_config", "type.googleapis.com/google.ai.generativelanguage.v1beta.ToolConfig", calling)
    allowed = either(calling or {}, "allowedFunctionNames", "allowed_function_names")
    if not isinstance(allowed, (list, type(None))):
        raise _invalid("tool_config.function_calling_config.allowed_function_names", "TYPE_STRING", allowed)
    mode = (calling or {}).get("mode")
    if mode is not None and str(mode).upper() not in ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"):
        raise _invalid("tool_config.function_calling_config.mode", "Mode", mode)


def declarations(body: Mapping[str, Any]) -> list[Any]:
    """The functions offered, of all tools."""
    return [
        declared
        for tool in body.get("tools") or ()
        for declared in either(tool, "functionDeclarations", "function_declarations") or ()
    ]


def texts(content: Mapping[str, Any]) -> list[str]:
    return [part["text"] for part in content["parts"] if "text" in part]


def json_schema(schema: Any) -> Any:
    """Gemini's own Schema (a piece of OpenAPI 3.0) as JSON schema: types in capitals, `nullable`, and 64-bit
    numbers as strings are the differences."""
    if not isinstance(schema, dict):
        return schema
    plain = dict(schema)
    kind = plain.get("type")
    if isinstance(kind, str) and kind.upper() in SCHEMA_TYPES:
        plain["type"] = kind.lower()
    for camel, snake in (("anyOf", "any_of"), ("minItems", "min_items"), ("maxItems", "max_items")):
        if snake in plain:
            plain[camel] = plain.pop(snake)
    for word in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
        if isinstance(plain.get(word), str) and plain[word].isdecimal():
            plain[word] = int(plain[word])
    if isinstance(plain.get("properties"), dict):
        plain["properties"] = {name: json_schema(part) for name, part in plain["properties"].items()}
    if "items" in plain:
        plain["items"] = json_schema(plain["items"])
    if isinstance(plain.get("anyOf"), list):
        plain["anyOf"] = [json_schema(part) for part in plain["anyOf"]]
    return plain

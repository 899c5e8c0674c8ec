"""The shape a body must have before LiteLLM sees it, per API.

LiteLLM retries and falls back on a body no provider could accept (11 s, up to sixteen upstream calls) and
answers 500; here the same body is a 400 at once that names the field. Only what every provider agrees on is
checked: types, roles, what must be there. Ranges and unknown parameters are the provider's to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import Required, TypedDict

from proxy.gateway.errors import Refusal
from proxy.gateway.routes import Api

Object = dict[str, Any]
Objects = Annotated[list[Object], Field(fail_fast=True)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]
Stop = str | Annotated[list[str], Field(fail_fast=True)] | None
Tokens = Annotated[list[int], Field(fail_fast=True, min_length=1)]
TextOrTokens = (
    Text
    | Annotated[list[str], Field(fail_fast=True, min_length=1)]
    | Tokens
    | Annotated[list[Tokens], Field(fail_fast=True, min_length=1)]
)


def _part_has_text(part: Any) -> Any:
    if part["type"] == "text" and part.get("text") is None:
        raise _needs("text")
    return part


def _message_has_content(message: Any) -> Any:
    if message["role"] not in ("assistant", "function") and message.get("content") is None:
        raise _needs("content")
    return message


def _needs(field: str) -> PydanticCustomError:
    return PydanticCustomError("missing", "is required", {"field": field})


class _Part(TypedDict, total=False):
    type: Required[str]
    text: str | None


class _Function(TypedDict, total=False):
    name: Required[str]
    arguments: str | None


class _ToolCall(TypedDict, total=False):
    id: str | None
    type: str | None
    function: _Function | None


Parts = Annotated[list[Annotated[_Part, AfterValidator(_part_has_text)]], Field(fail_fast=True)]


class _ChatMessage(TypedDict, total=False):
    role: Required[Literal["system", "developer", "user", "assistant", "tool", "function"]]
    content: str | Parts | None
    name: str | None
    tool_calls: Annotated[list[_ToolCall], Field(fail_fast=True)] | None
    tool_call_id: str | None


class _ToolFunction(TypedDict, total=False):
    name: Required[str]
    description: str | None
    parameters: Object | None


class _Tool(TypedDict, total=False):
    type: str | None
    function: _ToolFunction | None


class _Sampling(TypedDict, total=False):
    """What all APIs of OpenAI's kind share."""

    model: str | None
    stream: bool | None
    temperature: Number | None
    top_p: Number | None
    user: str | None
    metadata: Object | None
    timeout: Number | None


class _Completion(_Sampling, total=False):
    max_tokens: int | None
    n: int | None
    seed: int | None
    stop: Stop
    presence_penalty: Number | None
    frequency_penalty: Number | None
    logit_bias: Object | None
    stream_options: Object | None


class ChatBody(_Completion, total=False):
    """POST /v1/chat/completions (https://platform.openai.com/docs/api-reference/chat/create)."""

    messages: Required[
        Annotated[
            list[Annotated[_ChatMessage, AfterValidator(_message_has_content)]], Field(fail_fast=True, min_length=1)
        ]
    ]
    max_completion_tokens: int | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: Annotated[list[_Tool], Field(fail_fast=True)] | None
    tool_choice: str | Object | None
    parallel_tool_calls: bool | None
    functions: Objects | None
    response_format: Object | None
    reasoning_effort: str | None


class CompletionBody(_Completion, total=False):
    """POST /v1/completions."""

    prompt: Required[TextOrTokens]
    suffix: str | None
    echo: bool | None


class EmbeddingBody(TypedDict, total=False):
    """POST /v1/embeddings."""

    model: str | None
    input: Required[TextOrTokens]
    dimensions: int | None
    encoding_format: str | None
    user: str | None
    timeout: Number | None


class ResponsesBody(_Sampling, total=False):
    """POST /v1/responses."""

    input: str | Objects | None
    instructions: str | None
    max_output_tokens: int | None
    previous_response_id: str | None
    tools: Objects | None
    tool_choice: str | Object | None
    text: Object | None
    reasoning: Object | None


class _AnthropicMessage(TypedDict, total=False):
    role: Required[Literal["user", "assistant", "system"]]
    content: Required[str | Parts]


class MessagesBody(TypedDict, total=False):
    """POST /v1/messages (https://docs.anthropic.com/en/api/messages)."""

    model: str | None
    messages: Required[Annotated[list[_AnthropicMessage], Field(fail_fast=True, min_length=1)]]
    max_tokens: int | None
    stream: bool | None
    system: str | Parts | None
    temperature: Number | None
    top_p: Number | None
    top_k: int | None
    stop_sequences: Annotated[list[str], Field(fail_fast=True)] | None
    tools: Objects | None
    tool_choice: Object | None
    thinking: Object | None
    metadata: Object | None
    timeout: Number | None


class _Content(TypedDict, total=False):
    role: str | None
    parts: Required[Objects]


class GeminiBody(TypedDict, total=False):
    """POST /v1beta/models/<model>:generateContent (https://ai.google.dev/api/generate-content)."""

    contents: Required[Annotated[list[_Content], Field(fail_fast=True, min_length=1)]]
    tools: Objects | None
    generationConfig: Object | None


_ADAPTERS: dict[Api, TypeAdapter[Any]] = {
    Api.CHAT: TypeAdapter(ChatBody),
    Api.COMPLETION: TypeAdapter(CompletionBody),
    Api.EMBEDDING: TypeAdapter(EmbeddingBody),
    Api.RESPONSES: TypeAdapter(ResponsesBody),
    Api.MESSAGES: TypeAdapter(MessagesBody),
    Api.GEMINI: TypeAdapter(GeminiBody),
}


def check_shape(api: Api, body: Mapping[str, Any], *, model_in_path: bool) -> None:
    """Raises a 400 Refusal naming the first field that has not the shape its API demands."""
    if not api.has_shape:
        return
    if not model_in_path and not body.get("model"):
        raise Refusal(400, "model: is required", param="model", code="missing_required_parameter")
    try:
        _ADAPTERS[api].validate_python(body, strict=True)
    except ValidationError as error:
        raise _refusal(error, body) from None


# JSON's words in place of Python's
_WORDS = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
    "finite_number": "a finite number",
    "too_short": "a non-empty array",
    "string_too_short": "a non-empty string",
}


def _refusal(error: ValidationError, body: Mapping[str, Any]) -> Refusal:
    """One message for the field at fault.

    A union reports each of its members; the deepest place is the one the client meant, and what its members
    would accept is joined with "or".
    """
    found = [(_path(detail, body), detail) for detail in error.errors(include_url=False, include_input=False)]
    place = max(found, key=lambda item: len(item[0]))[0]
    details = [detail for path, detail in found if path == place]
    param = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
    if details[0]["type"] == "missing":
        return Refusal(400, f"{param}: is required", param=param, code="missing_required_parameter")
    accepted = " or ".join(dict.fromkeys(_accepted(detail) for detail in details))
    return Refusal(400, f"{param}: must be {accepted}", param=param, code="invalid_type")


def _accepted(detail: ErrorDetails) -> str:
    if detail["type"] == "literal_error":
        return f"one of {detail['ctx']['expected']}"
    return _WORDS.get(detail["type"]) or detail["msg"].removeprefix("Input should be ")


def _path(detail: ErrorDetails, body: Any) -> tuple[str | int, ...]:
    """The error's place in the body, without the names of union members pydantic puts in between."""
    path: list[str | int] = []
    here = body
    for step in detail["loc"]:
        if isinstance(here, dict) and isinstance(step, str):
            if step in here:
                here = here[step]
                path.append(step)
            elif detail["type"] == "missing" and step == detail["loc"][-1]:
                path.append(step)
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
            path.append(step)
    if field := detail.get("ctx", {}).get("field"):
        path.append(field)
    return tuple(path)

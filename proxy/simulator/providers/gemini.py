"""Gemini's wire format: POST /v1beta/models/{model}:generateContent and :streamGenerateContent.

Shapes follow https://ai.google.dev/api/generate-content; `gemini_request.py` checks what comes in,
`gemini_errors.py` has errors and headers. A stream is server-sent events with `alt=sse`, else one JSON array sent
piece by piece.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs

import orjson

from proxy.simulator.providers.gemini_errors import JSON_UTF8, refuse
from proxy.simulator.providers.gemini_errors import broken_event as broken_event
from proxy.simulator.providers.gemini_errors import error as error
from proxy.simulator.providers.gemini_errors import error_event as error_event
from proxy.simulator.providers.gemini_errors import headers as headers
from proxy.simulator.providers.gemini_errors import schema_error as schema_error
from proxy.simulator.providers.gemini_request import check, declarations, either, json_schema, texts
from proxy.simulator.providers.gemini_tokens import modalities, reasoning
from proxy.simulator.providers.wire import Answer, Call, ProviderError, dumps
from proxy.simulator.replies.logprobs import TokenLogprob, logprobs
from proxy.simulator.replies.reply import (
    Choice,
    Prompt,
    Reply,
    Tool,
    ToolUse,
    identifier,
    json_mode_schema,
    request_key,
    tool_to_call,
)

NAME = "google"

GROUP = 8
"""Tokens to a chunk."""

FINISH = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool": "STOP",
    "refusal": "SAFETY",
    "content_filter": "SAFETY",
}

HARMLESS = [
    {"category": f"HARM_CATEGORY_{name}", "probability": "NEGLIGIBLE"}
    for name in ("SEXUALLY_EXPLICIT", "HATE_SPEECH", "HARASSMENT")
]
BLOCKED = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]

NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)


def authorise(call: Call) -> None:
    key = call.headers.get(b"x-goog-api-key", b"").strip()
    bearer = call.headers.get(b"authorization", b"").strip()
    if not key and not bearer and not parse_qs(call.query).get(b"key"):
        raise refuse(NO_KEY, status=403)


def read(call: Call) -> Prompt:
    model = call.model or ""
    if not model.startswith(("gemini-", "gemma-")):
        raise ProviderError(error(call, 404, None))
    body = check(call.body)
    contents = body["contents"]
    config = either(body, "generationConfig", "generation_config") or {}
    users = [content for content in contents if content.get("role", "user") != "model"]
    last_text = next((text for content in reversed(users) if (text := " ".join(texts(content)))), "")
    offered = tuple(Tool(declared["name"], _parameters(declared)) for declared in declarations(body))
    results = _results(contents[-1])
    users_turn = contents[-1].get("role", "user") == "user" and not results
    counts = modalities(body)
    return Prompt(
        model=model,
        key=request_key(model, body, call.raw),
        last_text=last_text,
        prompt_tokens=sum(counts.values()),
        media=tuple((name, count) for name, count in counts.items() if name != "TEXT"),
        limit=either(config, "maxOutputTokens", "max_output_tokens"),
        stop=tuple(either(config, "stopSequences", "stop_sequences") or ()),
        tool=_tool(body, offered, users_turn) if offered else None,
        schema=_schema(config, last_text),
        choices=either(config, "candidateCount", "candidate_count") or 1,
        offered=offered,
        results=results,
        thinking=_is_thinking(config),
        reasoning=reasoning(config),
        logprobs=(config.get("logprobs") or 0) if either(config, "responseLogprobs", "response_logprobs") else None,
    )


def _results(content: dict[str, Any]) -> tuple[str, ...]:
    """The functions' results in a content, as JSON where they are more than one text."""
    found = []
    for part in content["parts"]:
        answered = either(part, "functionResponse", "function_response")
        if answered is None:
            continue
        response = answered.get("response") if isinstance(answered, dict) else answered
        inner = next(iter(response.values())) if isinstance(response, dict) and len(response) == 1 else response
        found.append(inner if isinstance(inner, str) else orjson.dumps(response).decode())
    return tuple(found)


def _is_thinking(config: dict[str, Any]) -> bool:
    thinking = either(config, "thinkingConfig", "thinking_config") or {}
    return bool(either(thinking, "includeThoughts", "include_thoughts"))


def _tool(body: dict[str, Any], offered: tuple[Tool, ...], users_turn: bool) -> Tool | None:
    calling = either(body, "toolConfig", "tool_config") or {}
    calling = either(calling, "functionCallingConfig", "function_calling_config") or {}
    allowed = either(calling, "allowedFunctionNames", "allowed_function_names")
    allowed_now = [tool for tool in offered if not allowed or tool.name in allowed]
    mode = str(calling.get("mode") or "AUTO").upper()
    if mode == "ANY":
        return tool_to_call(allowed_now, "required", None, users_turn)
    return tool_to_call(allowed_now, "none" if mode == "NONE" else "auto", None, users_turn)


def _parameters(declared: dict[str, Any]) -> Any:
    schema = either(declared, "parametersJsonSchema", "parameters_json_schema")
    if schema is not None:
        return schema
    return json_schema(declared.get("parameters") or {"type": "OBJECT"})


def _schema(config: dict[str, Any], last_text: str) -> Any:
    if either(config, "responseMimeType", "response_mime_type") != "application/json":
        return None
    plain = either(config, "responseJsonSchema", "response_json_schema")
    if plain is not None:
        return plain
    schema = either(config, "responseSchema", "response_schema")
    if schema is None:
        return json_mode_schema(last_text)
    return json_schema(schema)


def write(call: Call, prompt: Prompt, reply: Reply) -> Answer:
    candidates = []
    for index, choice in enumerate(reply.choices):
        parts = [*_thoughts(choice), *([{"text": choice.text}] if choice.text and not choice.refused else [])]
        candidate = _candidate(index, [*parts, *_calls(prompt, choice, index)])
        candidate.update(_ended(choice))
        if prompt.logprobs is not None:
            candidate.update(_logprobs(logprobs(prompt.key, index, choice.words.encoded, prompt.logprobs)))
        candidates.append(candidate)
    answered = reply.completion_tokens - reply.reasoning_tokens
    return Answer(200, _response(_frame(call, prompt, reply), candidates, answered), JSON_UTF8)


def _candidate(index: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": {"parts": parts, "role": "model"} if parts else {"role": "model"}, "index": index}


def _ended(choice: Choice) -> dict[str, Any]:
    """Why a candidate ended."""
    reason = FINISH[choice.finish]
    ended: dict[str, Any] = {"finishReason": reason}
    if choice.refused and choice.text:
        ended["finishMessage"] = choice.text
    if reason == "SAFETY":
        ended["safetyRatings"] = [*HARMLESS, *BLOCKED]
    return ended


def _thoughts(choice: Choice) -> list[dict[str, Any]]:
    return [{"text": choice.thoughts.text, "thought": True}] if choice.thoughts is not None else []


def _calls(prompt: Prompt, choice: Choice, index: int) -> list[dict[str, Any]]:
    """The function calls. Arguments cut off by maxOutputTokens are no JSON: such a call is left out."""
    parts = [_call(use) for use in choice.tools if use.whole]
    if parts and choice.reasoning:
        signature = "thought " + identifier(prompt.key, f"thought {index}", 40)
        parts[0]["thoughtSignature"] = b64encode(signature.encode()).decode()
    return parts


def _call(use: ToolUse) -> dict[str, Any]:
    return {"functionCall": {"name": use.name, "args": orjson.loads(use.arguments.text)}}


def _logprobs(listed: list[TokenLogprob]) -> dict[str, Any]:
    if not listed:
        return {}
    total = sum(token.logprob for token in listed)
    result: dict[str, Any] = {
        "logProbabilitySum": total,
        "topCandidates": [{"candidates": [_logprob(other) for other in token.alternatives]} for token in listed],
        "chosenCandidates": [_logprob(token) for token in listed],
    }
    if not listed[0].alternatives:
        del result["topCandidates"]
    return {"avgLogprobs": total / len(listed), "logprobsResult": result}


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.raw.decode("utf-8", "replace"), "tokenId": token.id, "logProbability": token.logprob}


def _frame(call: Call, prompt: Prompt, reply: Reply) -> dict[str, Any]:
    """What a response holds beside its candidates, with nothing answered yet."""
    given = reply.prompt_tokens != prompt.prompt_tokens  # by a script: all of it text
    media = {} if given else dict(prompt.media)
    details = {"TEXT": reply.prompt_tokens - sum(media.values()), **media}
    usage: dict[str, Any] = {
        "promptTokenCount": reply.prompt_tokens,
        "candidatesTokenCount": 0,
        "totalTokenCount": reply.prompt_tokens + reply.reasoning_tokens,
        "promptTokensDetails": [{"modality": name, "tokenCount": count} for name, count in details.items() if count],
    }
    if reply.reasoning_tokens:
        usage["thoughtsTokenCount"] = reply.reasoning_tokens
    return {
        "usageMetadata": usage,
        "modelVersion": prompt.model,
        "responseId": identifier(call.request_id.encode(), "reply", 22),
    }


def _response(frame: dict[str, Any], candidates: list[dict[str, Any]], answered: int) -> bytes:
    usage = frame["usageMetadata"]
    total = usage["totalTokenCount"] + answered
    return dumps(
        {
            "candidates": candidates,
            **frame,
            "usageMetadata": {**usage, "candidatesTokenCount": answered, "totalTokenCount": total},
        }
    )


Piece = tuple[dict[str, Any], int]
"""A chunk's candidate and the tokens it brings."""


def stream(call: Call, prompt: Prompt, reply: Reply) -> list[bytes]:
    pieces: list[Piece] = []
    for index, choice in enumerate(reply.choices):
        made = _pieces(prompt, choice, index) or [(_candidate(index, []), 0)]
        made[-1][0].update(_ended(choice))
        pieces += made
    frame = _frame(call, prompt, reply)
    answered, spent, chunks = reply.completion_tokens - reply.reasoning_tokens, 0, []
    for number, (candidate, tokens) in enumerate(pieces, 1):
        spent = min(spent + tokens, answered) if number < len(pieces) else answered
        chunks.append(_response(frame, [candidate], spent))
    if call.sse:
        return [b"data: " + chunk + b"\r\n\r\n" for chunk in chunks]
    opened = [(b"[" if number == 0 else b",\r\n") + chunk for number, chunk in enumerate(chunks)]
    return [*opened, b"]"]


def _pieces(prompt: Prompt, choice: Choice, index: int) -> list[Piece]:
    """What a candidate's chunks hold: thoughts, then text, then one chunk with the calls."""
    pieces: list[Piece] = [(_candidate(index, [part]), 0) for part in _thoughts(choice)]
    if prompt.logprobs is not None:
        told = logprobs(prompt.key, index, choice.words.encoded, prompt.logprobs)
        for text, at, end in [] if choice.refused else choice.words.spans(GROUP):
            pieces.append(({**_candidate(index, [{"text": text}]), **_logprobs(told[at:end])}, end - at))
    elif not choice.refused:
        pieces += [(_candidate(index, [{"text": text}]), GROUP) for text in choice.words.parts(GROUP)]
    calls = _calls(prompt, choice, index)
    if calls:
        pieces.append((_candidate(index, calls), choice.tokens - choice.reasoning - len(choice.words.encoded)))
    return pieces


def stream_type(call: Call) -> bytes:
    return b"text/event-stream" if call.sse else JSON_UTF8

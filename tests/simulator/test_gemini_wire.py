"""The simulator as Gemini, seen through Google's own SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel, Field

from tests.simulator.running import Double, make_gemini_client

MODEL = "gemini-1.5-flash"
ASKED = "What is the weather in Turin?"
BODY: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}
PATH = f"/gemini/v1beta/models/{MODEL}"

WEATHER = types.FunctionDeclaration(
    name="get_weather",
    parameters=types.Schema(
        type=types.Type.OBJECT,
        properties={
            "city": types.Schema(type=types.Type.STRING),
            "days": types.Schema(type=types.Type.INTEGER, minimum=2),
            "tags": types.Schema(type=types.Type.ARRAY, items=types.Schema(type=types.Type.STRING), min_items=2),
        },
        required=["city"],
    ),
)
CLOCK = types.FunctionDeclaration(name="get_time", parameters_json_schema={"type": "object", "properties": {}})
TOOLS: Any = [types.Tool(function_declarations=[WEATHER, CLOCK])]


class Person(BaseModel):
    name: str
    age: int = Field(ge=18)
    nickname: str | None


def config(**settings: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **settings
    )


def calling(mode: str, allowed: list[str] | None = None) -> types.ToolConfig:
    chosen: Any = mode
    return types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(mode=chosen, allowed_function_names=allowed)
    )


def test_content(gemini_client: genai.Client) -> None:
    reply = gemini_client.models.generate_content(model=MODEL, contents=ASKED)
    assert MODEL in (reply.text or "")
    assert "weather in Turin" in (reply.text or "")
    assert reply.model_version == MODEL
    assert reply.response_id
    assert reply.candidates is not None
    assert reply.candidates[0].finish_reason == types.FinishReason.STOP
    usage = reply.usage_metadata
    assert usage is not None
    assert usage.prompt_token_count == 7
    assert (usage.candidates_token_count or 0) > 20
    assert usage.total_token_count == 7 + (usage.candidates_token_count or 0)


def test_headers(double: Double) -> None:
    answer = double.http.post(f"{PATH}:generateContent", json=BODY, headers={"x-goog-api-key": "any"})
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.headers["server"] == "scaffolding on HTTPServer2"
    assert answer.headers["server-timing"].startswith("gfet4t7; dur=")


def test_stream(gemini_client: genai.Client) -> None:
    whole = gemini_client.models.generate_content(model=MODEL, contents=ASKED)
    chunks = list(gemini_client.models.generate_content_stream(model=MODEL, contents=ASKED))
    assert len(chunks) > 3
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    finishes = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert finishes == [None] * (len(chunks) - 1) + [types.FinishReason.STOP]
    counts = [chunk.usage_metadata.candidates_token_count or 0 for chunk in chunks if chunk.usage_metadata]
    assert counts == sorted(set(counts))
    assert chunks[-1].usage_metadata == whole.usage_metadata


def test_stream_as_events_and_as_array(double: Double) -> None:
    key = {"x-goog-api-key": "any"}
    events = double.http.post(f"{PATH}:streamGenerateContent?alt=sse", json=BODY, headers=key)
    array = double.http.post(f"{PATH}:streamGenerateContent", json=BODY, headers=key)
    assert events.headers["content-type"] == "text/event-stream"
    assert array.headers["content-type"] == "application/json; charset=UTF-8"
    listed = array.json()
    parsed = [json.loads(event.removeprefix("data: ")) for event in events.text.strip().split("\r\n\r\n")]
    assert len(parsed) > 3
    assert [len({chunk.pop("responseId") for chunk in chunks}) for chunks in (parsed, listed)] == [1, 1]
    assert parsed == listed


def test_a_percent_encoded_colon_and_a_key_in_the_query(double: Double) -> None:
    answer = double.http.post(f"{PATH}%3AgenerateContent?key=any", json=BODY)
    assert answer.status_code == 200
    assert answer.json()["modelVersion"] == MODEL


def test_both_spellings_of_fields(double: Double) -> None:
    key = {"x-goog-api-key": "any"}
    for name, limit in (("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")):
        answer = double.http.post(f"{PATH}:generateContent", json={**BODY, name: {limit: 5}}, headers=key).json()
        assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"
        assert answer["usageMetadata"]["candidatesTokenCount"] == 5


def test_async_client(double: Double) -> None:
    async def ask() -> tuple[str | None, str]:
        client = make_gemini_client(double)
        whole = await client.aio.models.generate_content(model=MODEL, contents=ASKED)
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents=ASKED)
        text = "".join([chunk.text or "" async for chunk in stream])
        await client.aio.aclose()
        return whole.text, text

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


@pytest.mark.parametrize("streamed", [False, True])
def test_function_call_then_text_after_its_result(gemini_client: genai.Client, streamed: bool) -> None:
    if streamed:
        [reply] = gemini_client.models.generate_content_stream(model=MODEL, contents=ASKED, config=config(tools=TOOLS))
    else:
        reply = gemini_client.models.generate_content(model=MODEL, contents=ASKED, config=config(tools=TOOLS))
    [call] = reply.function_calls or []
    assert call.name == "get_weather"
    assert call.args is not None
    assert (call.args["city"], call.args["days"], len(call.args["tags"])) == ("example city", 2, 2)
    assert reply.candidates is not None
    asked = reply.candidates[0].content
    assert asked is not None
    result = types.Part.from_function_response(name="get_weather", response={"sky": "clear"})
    turns: Any = [types.UserContent(ASKED), asked, types.Content(role="user", parts=[result])]
    told = gemini_client.models.generate_content(model=MODEL, contents=turns, config=config(tools=TOOLS))
    assert not told.function_calls
    assert "weather in Turin" in (told.text or "")


@pytest.mark.parametrize(
    ("tool_config", "called"),
    [
        (calling("NONE"), []),
        (calling("AUTO"), ["get_weather"]),
        (calling("ANY"), ["get_weather"]),
        (calling("ANY", ["get_time"]), ["get_time"]),
    ],
)
def test_function_calling_mode(gemini_client: genai.Client, tool_config: types.ToolConfig, called: list[str]) -> None:
    reply = gemini_client.models.generate_content(
        model=MODEL, contents=ASKED, config=config(tools=TOOLS, tool_config=tool_config)
    )
    assert [call.name for call in reply.function_calls or []] == called


def test_structured_output(gemini_client: genai.Client) -> None:
    reply = gemini_client.models.generate_content(
        model=MODEL, contents=ASKED, config=config(response_mime_type="application/json", response_schema=Person)
    )
    assert isinstance(reply.parsed, Person)
    assert reply.parsed.age >= 18


def test_structured_output_by_json_schema(gemini_client: genai.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    reply = gemini_client.models.generate_content(
        model=MODEL, contents=ASKED, config=config(response_mime_type="application/json", response_json_schema=schema)
    )
    assert json.loads(reply.text or "") == {"n": 7}


def test_json_mode_gives_an_object(gemini_client: genai.Client) -> None:
    reply = gemini_client.models.generate_content(
        model=MODEL, contents=ASKED, config=config(response_mime_type="application/json")
    )
    assert isinstance(json.loads(reply.text or ""), dict)


def test_candidates_and_stop(gemini_client: genai.Client) -> None:
    reply = gemini_client.models.generate_content(
        model=MODEL, contents="before MARK after", config=config(candidate_count=2, stop_sequences=["MARK"])
    )
    assert reply.candidates is not None
    texts = [(one.content.parts or [])[0].text or "" for one in reply.candidates if one.content]
    assert len(texts) == 2
    assert all(text.endswith('"before ') for text in texts)


def test_inline_images_count(gemini_client: genai.Client) -> None:
    contents: Any = ["See", types.Part.from_bytes(data=b"png", mime_type="image/png")]
    reply = gemini_client.models.generate_content(model=MODEL, contents=contents)
    assert reply.usage_metadata is not None
    assert reply.usage_metadata.prompt_token_count == 1 + 258


def test_no_key_is_refused(double: Double) -> None:
    # Google's own answer to a call without a key is a 403, not a 401.
    answer = double.http.post(f"{PATH}:generateContent", json=BODY)
    assert answer.status_code == 403
    assert answer.json()["error"]["status"] == "PERMISSION_DENIED"
    assert "unregistered callers" in answer.json()["error"]["message"]


def test_unknown_model_is_404(gemini_client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="models/gpt-4o is not found") as refused:
        gemini_client.models.generate_content(model="gpt-4o", contents=ASKED)
    assert (refused.value.code, refused.value.status) == (404, "NOT_FOUND")


def test_other_methods_are_404(double: Double) -> None:
    answer = double.http.post(f"{PATH}:embedContent", json=BODY, headers={"x-goog-api-key": "any"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"contents": ...}, "* GenerateContentRequest.contents: contents is not specified"),
        ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified"),
        ({"contents": "hi"}, "Invalid value at 'contents'"),
        ({"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user"}]}, "* GenerateContentRequest.contents[0].parts"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5"),
        ({"contents": [{"parts": ["x"]}]}, "Invalid value at 'contents[0].parts[0]'"),
        ({"generationConfig": {"maxOutputTokens": "x"}}, "Invalid value at 'generation_config.max_output_tokens'"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "* GenerateContentRequest.generation_config.max_output_tokens"),
        ({"generationConfig": {"temperature": 3}}, "* GenerateContentRequest.generation_config.temperature"),
        ({"generationConfig": {"stopSequences": "x"}}, "Invalid value at 'generation_config.stop_sequences'"),
        ({"tools": "x"}, "Invalid value at 'tools'"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "* GenerateContentRequest.tools[0]"),
        ({"tools": [{"functionDeclarations": "x"}]}, "Invalid value at 'tools[0].function_declarations'"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "Invalid value at 'tool_config"),
        (
            {"generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "ODD"}}},
            "* GenerateContentRequest.generation_config.response_schema",
        ),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"properties": [1]}}]}]},
            "* GenerateContentRequest.tools[0].function_declarations[0].parameters",
        ),
    ],
)
def test_bad_requests_are_400(double: Double, body: dict[str, Any], message: str) -> None:
    sent = {name: value for name, value in {**BODY, **body}.items() if value is not ...}
    answer = double.http.post(f"{PATH}:generateContent", json=sent, headers={"x-goog-api-key": "any"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 5000])
def test_bodies_that_are_none_are_400(double: Double, body: bytes) -> None:
    answer = double.http.post(f"{PATH}:generateContent", content=body, headers={"x-goog-api-key": "any"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid JSON payload received.")


def test_errors_of_an_array_stream_are_an_array(double: Double) -> None:
    double.faults({"kind": "status", "status": 503, "times": 1})
    answer = double.http.post(f"{PATH}:streamGenerateContent", json=BODY, headers={"x-goog-api-key": "any"})
    assert answer.status_code == 503
    assert answer.json()[0]["error"]["status"] == "UNAVAILABLE"

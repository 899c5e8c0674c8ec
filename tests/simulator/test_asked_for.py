"""What requests may hold beside words: images and files, counted; tools' results; settings; kept conversations."""

from __future__ import annotations

import base64
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.simulator.conftest import Clients
from tests.simulator.hearing import ASKED, CLAUDE, GEMINI, GPT, asker
from tests.simulator.running import Double

USER: list[Any] = [{"role": "user", "content": ASKED}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PDF = base64.b64encode(b"%PDF-1.4\n" + bytes(40)).decode()


# -- images, files and the like ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}, 85),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 765),
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}, 800),
        ({"type": "file", "file": {"file_id": "file-1"}}, 800),
        ({"type": "input_audio", "input_audio": {"data": PDF, "format": "wav"}}, 1),
    ],
)
def test_openai_takes_and_counts_parts(openai_client: openai.OpenAI, part: Any, tokens: int) -> None:
    content = [{"type": "text", "text": "See"}, part]
    reply = openai_client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": content}])
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == 3 + 4 + 1 + tokens
    assert '"See"' in (reply.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}, 1600),
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, 1600),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}, 2000),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "one two"}}, 2),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, 2000),
    ],
)
def test_anthropic_takes_and_counts_blocks(anthropic_client: anthropic.Anthropic, block: Any, tokens: int) -> None:
    messages: Any = [{"role": "user", "content": [block, {"type": "text", "text": "See"}]}]
    reply = anthropic_client.messages.create(model=CLAUDE, max_tokens=100, messages=messages)
    assert reply.usage.input_tokens == 3 + 4 + 1 + tokens


def test_anthropic_takes_images_in_a_tools_result(anthropic_client: anthropic.Anthropic) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a plot"}, image]}
    turns: Any = [
        *USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [result]},
    ]
    reply = anthropic_client.messages.create(model=CLAUDE, max_tokens=100, messages=turns)
    assert reply.usage.input_tokens > 1600
    assert reply.content[0].type == "text"
    assert '"a plot"' in reply.content[0].text


@pytest.mark.parametrize(
    ("mime", "modality", "tokens"),
    [
        ("image/png", "IMAGE", 258),
        ("audio/wav", "AUDIO", 32),
        ("video/mp4", "VIDEO", 263),
        ("application/pdf", "DOCUMENT", 258),
    ],
)
def test_gemini_takes_and_counts_files(gemini_client: genai.Client, mime: str, modality: str, tokens: int) -> None:
    for file in (
        types.Part.from_bytes(data=bytes(20), mime_type=mime),
        types.Part.from_uri(file_uri="https://example.com/a", mime_type=mime),
    ):
        reply = gemini_client.models.generate_content(model=GEMINI, contents=["See", file])
        usage = reply.usage_metadata
        assert usage is not None
        assert usage.prompt_token_count == 1 + tokens
        counted = {one.modality.value: one.token_count for one in usage.prompt_tokens_details or () if one.modality}
        assert counted == {"TEXT": 1, modality: tokens}


# -- settings that change nothing -------------------------------------------------------------------------------


def test_openai_takes_the_other_settings(openai_client: openai.OpenAI) -> None:
    reply = openai_client.chat.completions.create(
        model=GPT,
        messages=[{"role": "developer", "content": "Be brief."}, *USER],
        frequency_penalty=0.5,
        logit_bias={"1": 5},
        metadata={"a": "b"},
        modalities=["text"],
        parallel_tool_calls=False,
        prediction={"type": "content", "content": "Sunny."},
        presence_penalty=0.5,
        prompt_cache_key="k",
        safety_identifier="s",
        seed=7,
        service_tier="flex",
        store=False,
        tools=[{"type": "custom", "custom": {"name": "free", "description": "text"}}],
        top_p=0.5,
        user="u",
        verbosity="low",
        web_search_options={},
    )
    assert reply.service_tier == "flex"
    assert reply.choices[0].finish_reason == "stop"


def test_openai_calls_only_the_allowed_tools(openai_client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("one", "two")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "two"}}]}
    choice: Any = {"type": "allowed_tools", "allowed_tools": allowed}
    reply = openai_client.chat.completions.create(model=GPT, messages=USER, tools=tools, tool_choice=choice)
    [call] = reply.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "two"
    assert reply.choices[0].finish_reason == "tool_calls"


CACHED: Any = {"type": "ephemeral", "ttl": "1h"}


def test_anthropic_takes_the_other_settings(anthropic_client: anthropic.Anthropic) -> None:
    reply = anthropic_client.messages.create(
        model=CLAUDE,
        max_tokens=1000,
        system=[{"type": "text", "text": "Be brief.", "cache_control": CACHED}],
        messages=[{"role": "user", "content": [{"type": "text", "text": ASKED, "cache_control": CACHED}]}],
        tools=[
            {"name": "f", "input_schema": {"type": "object"}, "cache_control": CACHED},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            {"type": "bash_20250124", "name": "bash"},
        ],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        metadata={"user_id": "u"},
        service_tier="auto",
        output_config={"effort": "low"},
        extra_body={"top_k": 5, "top_p": 0.9, "temperature": 0.5},
        extra_headers={"anthropic-beta": "prompt-caching-2024-07-31"},
    )
    assert reply.usage.cache_read_input_tokens == 0
    assert reply.stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("count", "mark", "message"),
    [
        (5, CACHED, "A maximum of 4 blocks with cache_control may be provided. Found 5."),
        (1, {"type": "x"}, "ephemeral"),
    ],
)
def test_anthropic_refuses_odd_caching(
    anthropic_client: anthropic.Anthropic, count: int, mark: Any, message: str
) -> None:
    blocks: Any = [{"type": "text", "text": str(number), "cache_control": mark} for number in range(count)]
    with pytest.raises(anthropic.BadRequestError, match=message):
        anthropic_client.messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": blocks}])


def test_gemini_takes_the_other_settings(gemini_client: genai.Client) -> None:
    harm = types.SafetySetting(
        category=types.HarmCategory.HARM_CATEGORY_HARASSMENT, threshold=types.HarmBlockThreshold.BLOCK_NONE
    )
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        safety_settings=[harm],
        response_modalities=["TEXT"],
        media_resolution=types.MediaResolution.MEDIA_RESOLUTION_LOW,
        tools=[types.Tool(google_search=types.GoogleSearch())],
    )
    assert "Turin" in (gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config).text or "")


# -- after a tool's result --------------------------------------------------------------------------------------


def test_the_answer_after_a_tools_result_quotes_it(double: Double, clients: Clients) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns: dict[str, dict[str, Any]] = {
        "openai": {
            "messages": [
                *USER,
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "17 degrees"}]},
            ]
        },
        "anthropic": {
            "messages": [
                *USER,
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "17 degrees"}]},
            ]
        },
        "google": {
            "contents": [
                types.Content(role="user", parts=[types.Part(text=ASKED)]),
                types.Content(role="model", parts=[types.Part.from_function_call(name="f", args={})]),
                types.Content(
                    role="user", parts=[types.Part.from_function_response(name="f", response={"result": "17 degrees"})]
                ),
            ]
        },
    }
    for provider, settings in turns.items():
        for stream in (False, True):
            heard = asker(provider, stream, clients)(tools=True, **settings)
            assert heard.calls == []
            assert ASKED in heard.text
            assert 'The tool\'s result is "17 degrees".' in heard.text


# -- conversations that Anthropic keeps -------------------------------------------------------------------------


def test_a_conversation_that_anthropic_keeps(double: Double, anthropic_client: anthropic.Anthropic) -> None:
    double.rules({"when": {"turn": 2}, "reply": "the second turn"})
    create: dict[str, Any] = {"model": CLAUDE, "max_tokens": 100, "system": "Be brief."}
    headers = {"anthropic-beta": "message-threads-2026-08-12"}

    def ask(text: str, thread: Any, **settings: Any) -> Any:
        body = {"thread": thread, **settings}
        messages: Any = [{"role": "user", "content": text}]
        sent = {**create, **settings}
        return anthropic_client.messages.create(messages=messages, extra_body=body, extra_headers=headers, **sent)

    first = ask(ASKED, {"type": "create"})
    second = ask("And now?", {"type": "continue", "previous_message_id": first.id})
    assert second.content[0].text == "the second turn"
    turns = [*USER, first.to_param(), {"role": "user", "content": "And now?"}]
    whole = anthropic_client.messages.create(messages=turns, **create)
    assert second.usage.input_tokens == whole.usage.input_tokens
    third = ask("And then?", {"type": "continue", "previous_message_id": second.id})
    assert "And then?" in third.content[0].text
    with pytest.raises(anthropic.NotFoundError) as lost:
        ask("Hello?", {"type": "continue", "previous_message_id": "msg_01none"})
    assert isinstance(lost.value.body, dict)
    assert lost.value.body["error"]["details"] == {"error_code": "thread_not_found"}

"""What a request asks for beside words, and gets: logprobs, thoughts, images and files counted, other settings."""

from __future__ import annotations

import base64
import math
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


# -- logprobs ----------------------------------------------------------------------------------------------


def test_openai_logprobs(openai_client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": GPT, "messages": USER, "logprobs": True, "top_logprobs": 5}
    reply, again = (openai_client.chat.completions.create(**settings) for _ in range(2))
    choice = reply.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs == again.choices[0].logprobs
    told = choice.logprobs.content
    assert told is not None
    assert reply.usage is not None
    assert len(told) == reply.usage.completion_tokens
    assert "".join(token.token for token in told) == choice.message.content
    for token in told:
        assert bytes(token.bytes or ()).decode() == token.token
        likely = [other.logprob for other in token.top_logprobs]
        assert len(likely) == 5
        assert likely == sorted(likely, reverse=True)
        assert (token.top_logprobs[0].token, likely[0]) == (token.token, token.logprob)
        assert len({other.token for other in token.top_logprobs}) == 5
        assert sum(math.exp(one) for one in likely) <= 1
    assert len({token.logprob for token in told}) > len(told) / 2


def test_openai_logprobs_in_a_stream(openai_client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": GPT, "messages": USER, "logprobs": True, "top_logprobs": 2, "n": 2}
    whole = openai_client.chat.completions.create(**settings)
    streamed: list[list[Any]] = [[], []]
    for chunk in openai_client.chat.completions.create(**settings, stream=True):
        for choice in chunk.choices:
            if choice.delta.content:
                assert choice.logprobs is not None
                assert choice.logprobs.content is not None
                assert "".join(token.token for token in choice.logprobs.content) == choice.delta.content
                streamed[choice.index] += choice.logprobs.content
    assert streamed == [choice.logprobs.content for choice in whole.choices if choice.logprobs is not None]
    with openai_client.chat.completions.stream(**settings) as stream:
        assert stream.get_final_completion().choices[1].logprobs == whole.choices[1].logprobs


def test_openai_logprobs_of_parts_of_a_character(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": "🦩"})
    settings: dict[str, Any] = {"model": GPT, "messages": USER, "logprobs": True}
    [choice] = openai_client.chat.completions.create(**settings).choices
    assert choice.logprobs is not None
    told = choice.logprobs.content or []
    assert len(told) > 1
    assert b"".join(bytes(token.bytes or ()) for token in told).decode() == "🦩"
    assert told[0].token.startswith("bytes:\\xf0\\x9f")
    chunks = list(openai_client.chat.completions.create(**settings, stream=True))
    [bird] = [chunk.choices[0] for chunk in chunks if chunk.choices[0].delta.content]
    assert bird.logprobs is not None
    assert bird.logprobs.content == told


def test_openai_logprobs_without_alternatives_and_of_a_refusal(double: Double, openai_client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"model": GPT, "messages": USER, "logprobs": True}
    [plain] = openai_client.chat.completions.create(**settings).choices
    assert plain.logprobs is not None
    assert plain.logprobs.content is not None
    assert {len(token.top_logprobs) for token in plain.logprobs.content} == {0}
    double.rules({"reply": {"refusal": "I cannot."}})
    [refused] = openai_client.chat.completions.create(**settings).choices
    assert refused.logprobs is not None
    assert refused.logprobs.content is None
    assert "".join(token.token for token in refused.logprobs.refusal or ()) == "I cannot."


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"logprobs": "yes"}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
    ],
)
def test_openai_refuses_odd_logprobs(openai_client: openai.OpenAI, settings: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.chat.completions.create(model=GPT, messages=USER, **settings)
    assert refused.value.param == param


def test_gemini_logprobs(gemini_client: genai.Client) -> None:
    config = types.GenerateContentConfig(response_logprobs=True, logprobs=3)
    whole = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert whole.candidates is not None
    [candidate] = whole.candidates
    result = candidate.logprobs_result
    assert result is not None
    assert result.chosen_candidates is not None
    assert result.top_candidates is not None
    assert "".join(one.token or "" for one in result.chosen_candidates) == whole.text
    assert {len(top.candidates or ()) for top in result.top_candidates} == {3}
    told = [one.log_probability or 0.0 for one in result.chosen_candidates]
    assert candidate.avg_logprobs == pytest.approx(sum(told) / len(told))
    assert all(-1 < one < 0 for one in told)
    streamed: list[Any] = []
    for piece in gemini_client.models.generate_content_stream(model=GEMINI, contents=ASKED, config=config):
        found = (piece.candidates or [])[0].logprobs_result
        streamed += (found.chosen_candidates or []) if found is not None else []
    assert streamed == result.chosen_candidates


def test_gemini_without_logprobs(gemini_client: genai.Client) -> None:
    [candidate] = gemini_client.models.generate_content(model=GEMINI, contents=ASKED).candidates or ()
    assert (candidate.logprobs_result, candidate.avg_logprobs) == (None, None)


@pytest.mark.parametrize(
    "config", [{"logprobs": 3}, {"responseLogprobs": True, "logprobs": 21}, {"responseLogprobs": 1}]
)
def test_gemini_refuses_odd_logprobs(double: Double, config: dict[str, Any]) -> None:
    body = {"contents": [{"parts": [{"text": ASKED}]}], "generationConfig": config}
    path = f"/gemini/v1beta/models/{GEMINI}:generateContent"
    assert double.http.post(path, json=body, headers={"x-goog-api-key": "any"}).status_code == 400


# -- reasoning ---------------------------------------------------------------------------------------------


def test_openai_reasons_where_asked_to(openai_client: openai.OpenAI) -> None:
    counted = []
    for effort in ("minimal", "low", "high"):
        usage = openai_client.chat.completions.create(model="gpt-5-mini", messages=USER, reasoning_effort=effort).usage
        assert usage is not None
        assert usage.completion_tokens_details is not None
        counted.append(usage.completion_tokens_details.reasoning_tokens or 0)
        assert usage.completion_tokens > counted[-1]
    assert counted[0] == 0 < counted[1] < counted[2]


THINKING: dict[str, Any] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def test_anthropic_thinks_where_enabled(anthropic_client: anthropic.Anthropic) -> None:
    settings: dict[str, Any] = {"model": CLAUDE, "max_tokens": 2000, "messages": USER, **THINKING}
    whole = anthropic_client.messages.create(**settings)
    with anthropic_client.messages.stream(**settings) as stream:
        deltas = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert {"thinking", "signature", "text"} <= set(deltas)
    for reply in (whole, streamed):
        thought, said = reply.content
        assert thought.type == "thinking"
        assert said.type == "text"
        assert ASKED in thought.thinking
        assert len(thought.signature) > 40
        assert reply.usage.output_tokens_details is not None
        assert 0 < reply.usage.output_tokens_details.thinking_tokens < reply.usage.output_tokens
    assert streamed.to_dict()["content"] == whole.to_dict()["content"]


def test_anthropics_thoughts_may_be_omitted(anthropic_client: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "adaptive", "display": "omitted"}
    settings: dict[str, Any] = {"model": CLAUDE, "max_tokens": 2000, "messages": USER, "thinking": thinking}
    whole = anthropic_client.messages.create(**settings)
    with anthropic_client.messages.stream(**settings) as stream:
        streamed = stream.get_final_message()
    assert whole.content[0].type == "thinking"
    assert (whole.content[0].thinking, bool(whole.content[0].signature)) == ("", True)
    assert streamed.to_dict()["content"] == whole.to_dict()["content"]


def test_anthropic_thinks_as_much_as_the_script_says(double: Double, anthropic_client: anthropic.Anthropic) -> None:
    double.rules({"reply": {"text": "Done.", "reasoning_tokens": 900}})
    reply = anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=USER, **THINKING)
    assert [block.type for block in reply.content] == ["thinking", "text"]
    assert reply.usage.output_tokens_details is not None
    assert reply.usage.output_tokens_details.thinking_tokens == 900
    double.rules({"reply": {"text": "Done.", "reasoning_tokens": 0}})
    reply = anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=USER, **THINKING)
    assert [block.type for block in reply.content] == ["text"]


def test_anthropic_thinks_before_it_calls_a_tool_and_takes_its_thoughts_back(clients: Clients, double: Double) -> None:
    tools: Any = [{"name": "get_time", "input_schema": {"type": "object", "properties": {}}}]
    settings: dict[str, Any] = {"model": CLAUDE, "max_tokens": 2000, "tools": tools, **THINKING}
    reply = clients.anthropic.messages.create(messages=USER, **settings)
    assert [block.type for block in reply.content] == ["thinking", "tool_use"]
    call = reply.content[1]
    assert call.type == "tool_use"
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "noon"}]}
    last = clients.anthropic.messages.create(messages=[*USER, reply.to_param(), result], **settings)
    assert last.content[-1].type == "text"
    assert '"noon"' in last.content[-1].text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, "`max_tokens` must be greater than"),
        ({**THINKING, "extra_body": {"temperature": 0.5}}, "`temperature` may only be set to 1"),
        (
            {**THINKING, "tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "any"}},
            "Thinking may not be enabled when tool_choice forces tool use",
        ),
        ({"thinking": {"type": "odd"}}, "thinking: Input tag does not match"),
    ],
)
def test_anthropic_refuses_odd_thinking(anthropic_client: anthropic.Anthropic, settings: Any, message: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=message):
        anthropic_client.messages.create(model=CLAUDE, max_tokens=2000, messages=USER, **settings)


def test_gemini_thinks_where_asked_to(gemini_client: genai.Client) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    whole = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert whole.candidates is not None
    assert whole.candidates[0].content is not None
    thought, said = whole.candidates[0].content.parts or ()
    assert (thought.thought, said.thought) == (True, None)
    assert whole.text == said.text
    assert whole.usage_metadata is not None
    assert (whole.usage_metadata.thoughts_token_count or 0) > 0
    pieces = list(gemini_client.models.generate_content_stream(model=GEMINI, contents=ASKED, config=config))
    assert "".join(piece.text or "" for piece in pieces) == whole.text
    assert pieces[-1].usage_metadata == whole.usage_metadata


@pytest.mark.parametrize(
    ("thinking", "some"),
    [
        ({"thinking_budget": 0}, False),
        ({"thinking_budget": 100}, True),
        ({"thinking_budget": -1}, True),
        ({"thinking_level": "LOW"}, True),
        ({}, False),
    ],
)
def test_gemini_counts_thoughts_that_it_does_not_show(gemini_client: genai.Client, thinking: Any, some: bool) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(**thinking))
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert reply.usage_metadata is not None
    assert bool(reply.usage_metadata.thoughts_token_count) == some
    assert "Turin" in (reply.text or "")


def test_geminis_calls_carry_the_signature_of_its_thoughts(double: Double, gemini_client: genai.Client) -> None:
    double.rules({"reply": {"tool_calls": [{"name": "f"}, {"name": "g"}], "reasoning_tokens": 50}})
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED)
    assert reply.candidates is not None
    assert reply.candidates[0].content is not None
    first, second = reply.candidates[0].content.parts or ()
    assert first.thought_signature
    assert second.thought_signature is None


# -- images, files and the like ----------------------------------------------------------------------------


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


# -- settings that change nothing --------------------------------------------------------------------------


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


# -- after a tool's result ---------------------------------------------------------------------------------


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


# -- conversations that Anthropic keeps --------------------------------------------------------------------


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

"""How likely each token was, where a client asks: OpenAI's and Gemini's way."""

from __future__ import annotations

import math
from typing import Any

import openai
import pytest
from google import genai
from google.genai import types

from tests.simulator.hearing import ASKED, GEMINI, GPT
from tests.simulator.running import Double

USER: list[Any] = [{"role": "user", "content": ASKED}]


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

"""Every kind of scripted reply of every provider, as OpenAI's SDK hears it through the gateway's chat completions."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from proxy.simulator.client import DoubleClient
from tests.conftest import Stack
from tests.simulator.hearing import CITY, Heard, ask_openai

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4", "google": "gemini-2.0-flash"}
CALLS = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Turin", "Milan")]


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=MODELS)
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Asker:
    def __init__(self, stack: Stack, model: str, stream: bool) -> None:
        self.scope = f"replies-{uuid.uuid4().hex}"
        self.double = DoubleClient(stack.url, stack.master_key, self.scope)
        self.client = openai.OpenAI(
            base_url=f"{stack.url}/v1",
            api_key=stack.master_key,
            max_retries=0,
            timeout=60,
            default_headers={"x-double-scope": self.scope},
        )
        self.model, self.stream = model, stream

    def hear(self, reply: Any, **settings: Any) -> Heard:
        self.double.set_script({"strict": True, "rules": [{"reply": reply}]})
        return ask_openai(self.client, self.stream, model=self.model, **settings)


@pytest.fixture
def asker(stack: Stack, provider: str, stream: bool) -> Iterator[Asker]:
    asker = Asker(stack, MODELS[provider], stream)
    yield asker
    asker.double.clear()
    asker.client.close()


def test_text(asker: Asker) -> None:
    heard = asker.hear("Schön, 22 °C 🌞")
    assert (heard.text, heard.finish, heard.calls) == ("Schön, 22 °C 🌞", "stop", [])


def test_text_and_two_tool_calls(asker: Asker) -> None:
    heard = asker.hear({"text": "I will look.", "tool_calls": CALLS}, tools=True)
    assert heard.text == "I will look."
    assert heard.calls == [("get_weather", {"city": "Turin"}), ("get_weather", {"city": "Milan"})]
    assert len(set(heard.ids)) == 2
    assert heard.finish == "tool_calls"


def test_json_for_a_schema(asker: Asker) -> None:
    schema = {"name": "city", "strict": True, "schema": {**CITY, "additionalProperties": False}}
    heard = asker.hear({"json": {"city": "Turin"}}, response_format={"type": "json_schema", "json_schema": schema})
    assert json.loads(heard.text) == {"city": "Turin"}


def test_refusal(asker: Asker, provider: str) -> None:
    heard = asker.hear({"refusal": "I cannot."})
    # Only OpenAI's API has a place for the words of a refusal; LiteLLM passes Anthropic's text on, and no text of
    # what Gemini blocks.
    expected = {
        "openai": ("", "I cannot.", "stop"),
        "anthropic": ("I cannot.", "", "content_filter"),
        "google": ("", "", "content_filter"),
    }
    assert (heard.text, heard.refusal, heard.finish) == expected[provider]


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_finish_reason(asker: Asker, provider: str, stream: bool, finish: str) -> None:
    heard = asker.hear({"text": "As far as", "finish_reason": finish})
    assert heard.finish == finish
    blocked = provider == "google" and finish == "content_filter" and not stream
    assert heard.text == ("" if blocked else "As far as")


def test_the_requests_limits(asker: Asker) -> None:
    heard = asker.hear("one two three four", max_tokens=2)
    assert (heard.text, heard.finish, heard.completion) == ("one two", "length", 2)
    heard = asker.hear("one two three four", stop=["three"])
    assert (heard.text, heard.finish) == ("one two ", "stop")


def test_tokens(asker: Asker) -> None:
    heard = asker.hear({"text": "Done.", "reasoning_tokens": 640, "prompt_tokens": 77})
    assert (heard.prompt, heard.completion, heard.reasoning) == (77, 642, 640)


@pytest.mark.parametrize("stream", [False], indirect=True)
@pytest.mark.parametrize("provider", ["openai", "google"], indirect=True)
def test_logprobs(asker: Asker, provider: str) -> None:
    asker.double.set_script({"rules": [{"reply": "one two"}]})
    reply = asker.client.chat.completions.create(
        model=asker.model, messages=[{"role": "user", "content": "Hello"}], logprobs=True, top_logprobs=2
    )
    assert reply.choices[0].logprobs is not None
    told = reply.choices[0].logprobs.content or []
    assert [token.token for token in told] == ["one", " two"]
    # LiteLLM does not ask Gemini for alternatives.
    assert {len(token.top_logprobs) for token in told} == {2 if provider == "openai" else 0}, told

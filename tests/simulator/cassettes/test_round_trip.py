"""A simulator that acts as the provider is recorded through the official SDKs; another one answers from the cassette.

What the SDKs make of it is the same, and so are the bytes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from proxy.simulator.cassettes import notation
from proxy.simulator.cassettes.load import read_file
from proxy.simulator.cassettes.model import Exchange
from proxy.simulator.cassettes.scrub import SCRUBBED
from tests.simulator.cassettes.running import recording
from tests.simulator.running import Double

KEYS = {
    "openai": "sk-" + "proj-made-up-for-openai/+",
    "organization": "org-" + "MadeUpOrganisation1",
    "project": "proj_" + "MadeUpProject123456",
    "anthropic": "sk-" + "ant-made-up-for-anthropic",
    "google": "AI" + "za-made-up-for-google",
    "query": "AI" + "za-made-up-for-a-query",
    "cookie": "made-up-session-cookie",
}

RULES: list[dict[str, Any]] = [
    {
        "when": {"tool": "weather"},
        "reply": {"text": "Looking.", "tool_calls": [{"name": "weather", "arguments": {"city": "Bodø"}}]},
    },
    {
        "when": {"text": "slowly"},
        "reply": {"text": "One two three four.", "timing": {"first_token": 0.2, "tokens_per_second": 40}},
    },
    {"when": {"text": "too much"}, "fault": {"kind": "status", "status": 429, "retry_after": 7}},
    {"when": {"text": "break off"}, "fault": {"kind": "cut", "after_chunks": 3}},
    {"when": {"text": "half"}, "fault": "cut"},
    {"when": {"text": "hang up"}, "fault": "drop"},
    {"reply": "Hello,\nthis is “the provider”.  "},
]

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass
class Sdks:
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    google: genai.Client


@contextmanager
def sdks(bases: dict[str, str]) -> Iterator[Sdks]:
    made = Sdks(
        openai.OpenAI(
            base_url=bases["openai"],
            api_key=KEYS["openai"],
            organization=KEYS["organization"],
            project=KEYS["project"],
            max_retries=0,
            timeout=20,
            default_headers={"Cookie": f"theme=dark; session={KEYS['cookie']}"},
        ),
        anthropic.Anthropic(base_url=bases["anthropic"], api_key=KEYS["anthropic"], max_retries=0, timeout=20),
        genai.Client(
            api_key=KEYS["google"],
            http_options=types.HttpOptions(
                base_url=bases["google"].removesuffix("/v1beta"),
                timeout=20_000,
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        ),
    )
    try:
        yield made
    finally:
        made.openai.close()
        made.anthropic.close()
        made.google.close()


def chat(sdk: Sdks, text: str, **options: Any) -> Any:
    return sdk.openai.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": text}], **options
    ).model_dump()


def chat_stream(sdk: Sdks, text: str, **options: Any) -> Any:
    stream = sdk.openai.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": text}], stream=True, **options
    )
    return [chunk.model_dump() for chunk in stream]


def response(sdk: Sdks, text: str, **options: Any) -> Any:
    return sdk.openai.responses.create(model="gpt-4o", input=text, **options).model_dump()


def response_stream(sdk: Sdks, text: str) -> Any:
    return [event.model_dump() for event in sdk.openai.responses.create(model="gpt-4o", input=text, stream=True)]


def message(sdk: Sdks, text: str, **options: Any) -> Any:
    return sdk.anthropic.messages.create(
        model="claude-opus-4-5-20251101", max_tokens=100, messages=[{"role": "user", "content": text}], **options
    ).model_dump()


def message_stream(sdk: Sdks, text: str) -> Any:
    with sdk.anthropic.messages.stream(
        model="claude-opus-4-5-20251101", max_tokens=100, messages=[{"role": "user", "content": text}]
    ) as stream:
        return [event.model_dump() for event in stream]


def content(sdk: Sdks, text: str, **options: Any) -> Any:
    answer = sdk.google.models.generate_content(model="gemini-1.5-pro", contents=text, **options)
    return answer.model_dump(exclude={"sdk_http_response", "parsed"})


def content_stream(sdk: Sdks, text: str) -> Any:
    stream = sdk.google.models.generate_content_stream(model="gemini-1.5-pro", contents=text)
    return [chunk.model_dump(exclude={"sdk_http_response", "parsed"}) for chunk in stream]


TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
GOOGLE_TOOL = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS)]
)

CALLS: dict[str, Callable[[Sdks], Any]] = {
    "OpenAI": lambda sdk: chat(sdk, f"Hello, my key is {KEYS['openai']}"),
    "OpenAI tools": lambda sdk: chat(sdk, "Weather?", tools=[TOOL]),
    "OpenAI stream": lambda sdk: chat_stream(sdk, "Hello", stream_options={"include_usage": True}),
    "OpenAI stream of tools": lambda sdk: chat_stream(sdk, "Weather?", tools=[TOOL]),
    "OpenAI slow stream": lambda sdk: chat_stream(sdk, "slowly"),
    "OpenAI 429": lambda sdk: chat(sdk, "too much"),
    "OpenAI cut": lambda sdk: chat_stream(sdk, "break off"),
    "OpenAI half a body": lambda sdk: chat(sdk, "half"),
    "OpenAI dropped": lambda sdk: chat(sdk, "hang up"),
    "OpenAI response": lambda sdk: response(sdk, "Hello"),
    "OpenAI response stream": lambda sdk: response_stream(sdk, "Hello"),
    "OpenAI response 429": lambda sdk: response(sdk, "too much"),
    "Anthropic": lambda sdk: message(sdk, "Hello"),
    "Anthropic tools": lambda sdk: message(sdk, "Weather?", tools=[{"name": "weather", "input_schema": PARAMETERS}]),
    "Anthropic stream": lambda sdk: message_stream(sdk, "Hello"),
    "Anthropic slow stream": lambda sdk: message_stream(sdk, "slowly"),
    "Anthropic 429": lambda sdk: message(sdk, "too much"),
    "Anthropic cut": lambda sdk: message_stream(sdk, "break off"),
    "Google": lambda sdk: content(sdk, "Hello"),
    "Google tools": lambda sdk: content(sdk, "Weather?", config=types.GenerateContentConfig(tools=[GOOGLE_TOOL])),
    "Google stream": lambda sdk: content_stream(sdk, "Hello"),
    "Google 429": lambda sdk: content(sdk, "too much"),
    "Google cut": lambda sdk: content_stream(sdk, "break off"),
}


def outcome(call: Callable[[Sdks], Any], sdk: Sdks) -> Any:
    """What an SDK makes of an answer: its reply, or its exception with status, message and what it advises."""
    try:
        return call(sdk)
    except Exception as error:  # which one is part of the outcome
        headers = getattr(getattr(error, "response", None), "headers", {})
        message = str(error).replace("org-simulated", SCRUBBED)  # what a 429 of OpenAI's calls the organisation
        return type(error), getattr(error, "code", None), message, headers.get("retry-after")


@dataclass
class Recording:
    file: Path
    outcomes: dict[str, Any]
    raw: list[tuple[int, bytes]]
    text: str
    exchanges: list[Exchange]


def raw_requests() -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """Requests whose answers are compared as bytes: each provider in one piece and as a stream."""
    user = [{"role": "user", "content": "Raw"}]
    bearer, key = {"authorization": f"Bearer {KEYS['openai']}"}, {"x-api-key": KEYS["anthropic"]}
    claude = {"model": "claude-opus-4-5-20251101", "max_tokens": 50, "messages": user}
    gemini, parts = "/gemini/v1beta/models/gemini-1.5-pro", {"contents": [{"role": "user", "parts": [{"text": "Raw"}]}]}
    query = f"key={KEYS['query']}"
    return [
        ("/openai/v1/chat/completions", bearer, {"model": "gpt-4o", "messages": user}),
        ("/openai/v1/chat/completions", bearer, {"model": "gpt-4o", "messages": user, "stream": True}),
        ("/openai/v1/chat/completions", bearer, {"model": "gpt-4o", "messages": "wrong"}),
        ("/openai/v1/chat/completions", {}, {"model": "gpt-4o", "messages": user, "n": 2}),
        ("/anthropic/v1/messages", {**key, "anthropic-version": "2023-06-01"}, claude),
        ("/anthropic/v1/messages", {**key, "anthropic-version": "2023-06-01"}, {**claude, "stream": True}),
        (f"{gemini}:generateContent?{query}", {}, parts),
        (f"{gemini}%3AgenerateContent", {"x-goog-api-key": KEYS["google"]}, {**parts, "labels": {"team": "a"}, "x": 1}),
        (f"{gemini}:streamGenerateContent?alt=sse&{query}", {}, parts),
        (f"{gemini}:streamGenerateContent?{query}", {}, parts),
    ]


def send_raw(url: str) -> list[tuple[int, bytes]]:
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
        answers = [client.post(path, headers=headers, json=body) for path, headers, body in raw_requests()]
    return [(answer.status_code, answer.content) for answer in answers]


@pytest.fixture(scope="module")
def recorded(provider_simulator: Double, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    file = tmp_path_factory.mktemp("cassettes") / "recorded.yaml"
    provider_simulator.reset()
    provider_simulator.rules(*RULES, strict=True)
    with recording(file, provider_simulator.bases) as recorder:
        with sdks(recorder.bases) as sdk:
            outcomes = {name: outcome(call, sdk) for name, call in CALLS.items()}
        raw = send_raw(recorder.url)
    return Recording(file, outcomes, raw, file.read_text(encoding="utf-8"), read_file(file).all)


def load(double: Double, recording: Recording, scope: str = "default", **options: str) -> dict[str, Any]:
    """Puts the cassette into the scope; nothing else answers there."""
    double.rules(scope=scope, strict=True, inherit=False)
    answer = double.control.put("/cassette", content=recording.text.encode(), params={"scope": scope, **options})
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def test_each_call_is_in_the_file_once_and_in_its_order(recorded: Recording) -> None:
    assert len(recorded.exchanges) == len(CALLS) + len(raw_requests())
    assert [one.at for one in recorded.exchanges] == sorted(one.at for one in recorded.exchanges)
    assert [one.provider for one in recorded.exchanges[: len(CALLS)]] == ["openai"] * 12 + ["anthropic"] * 6 + [
        "google"
    ] * 5


def test_no_key_cookie_or_account_is_in_the_file(recorded: Recording) -> None:
    for name, secret in KEYS.items():
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")[:-2]
        for spelling in (secret, secret.replace("/", "%2F"), encoded):
            assert spelling not in recorded.text, name
    assert "Hello, my key is [scrubbed]" in recorded.text
    left_out = (
        r"^ +(authorization|cf-[a-z-]+|[a-z-]*(?:api-key|cookie|request-id|organization|organization-id|project)):"
    )
    assert re.findall(left_out, recorded.text, re.I | re.M) == []
    assert "key=" not in recorded.text


def test_what_the_sdks_make_of_it_is_what_they_made_of_the_provider(recorded: Recording, replaying: Double) -> None:
    load(replaying, recorded)
    with sdks(replaying.bases) as sdk:
        again = {name: outcome(call, sdk) for name, call in CALLS.items()}
    for name, expected in recorded.outcomes.items():
        assert again[name] == expected, name
    shown = replaying.control.get("/cassette").json()
    assert (len(shown["used"]), len(shown["left"])) == (len(CALLS), len(raw_requests()))
    entries = replaying.journal()
    assert {entry["outcome"] for entry in entries} == {"replay"}
    assert {entry["rule"] for entry in entries} == {None}


def test_the_recorded_outcomes_are_what_they_should_be(recorded: Recording) -> None:
    """So that equal outcomes prove something."""
    found = recorded.outcomes
    assert found["OpenAI"]["choices"][0]["message"]["content"] == RULES[-1]["reply"]
    assert found["OpenAI tools"]["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "weather"
    assert found["OpenAI stream"][-1]["usage"]["completion_tokens"] > 0
    assert found["OpenAI 429"][0] is openai.RateLimitError
    assert found["OpenAI 429"][3] == "7"
    assert "incomplete" in found["OpenAI cut"][2]
    assert found["OpenAI dropped"][0] is openai.APIConnectionError
    assert found["OpenAI response"]["output"][0]["content"][0]["text"] == RULES[-1]["reply"]
    assert found["OpenAI response stream"][-1]["type"] == "response.completed"
    assert found["Anthropic tools"]["content"][-1]["input"] == {"city": "Bodø"}
    assert found["Anthropic 429"][0] is anthropic.RateLimitError
    assert "incomplete" in found["Anthropic cut"][2]
    assert found["Google"]["candidates"][0]["content"]["parts"][0]["text"] == RULES[-1]["reply"]
    assert found["Google 429"][:2] == (errors.ClientError, 429)


def test_bodies_and_streams_come_back_byte_for_byte(recorded: Recording, replaying: Double) -> None:
    load(replaying, recorded)
    assert send_raw(replaying.url) == recorded.raw
    assert {status for status, _ in recorded.raw} >= {200, 400, 401}


def test_in_order_they_come_back_too(recorded: Recording, replaying: Double) -> None:
    load(replaying, recorded, match="order")
    with sdks(replaying.bases) as sdk:
        assert {name: outcome(call, sdk) for name, call in CALLS.items()} == recorded.outcomes
    assert send_raw(replaying.url) == recorded.raw
    assert replaying.control.get("/cassette").json()["left"] == []


def test_recorded_again_from_a_replay_a_cassette_holds_the_same(
    recorded: Recording, replaying: Double, tmp_path: Path
) -> None:
    """And with the recorded timing, no chunk comes earlier than it did."""
    load(replaying, recorded, timing="recorded")
    file = tmp_path / "again.yaml"
    with recording(file, replaying.bases) as recorder:
        with sdks(recorder.bases) as sdk:
            for call in CALLS.values():
                outcome(call, sdk)
        send_raw(recorder.url)
    again = read_file(file).all
    assert len(again) == len(recorded.exchanges)
    for first, second in zip(recorded.exchanges, again, strict=True):
        assert (first.provider, first.path, first.request) == (second.provider, second.path, second.request)
        assert facts(first) == facts(second)
        for earliest, came in zip(times(first), times(second), strict=True):
            assert came >= earliest - 0.002  # they are rounded
    slow = next(one for one in recorded.exchanges if "slowly" in str(one.request.json_))
    assert times(slow)[-1] >= 0.2


def facts(exchange: Exchange) -> Any:
    """All of an answer but its times."""
    if exchange.response is None:
        assert exchange.failure is not None
        return exchange.failure.kind
    response = exchange.response
    headers = {name: value for name, value in response.headers.items() if not name.startswith("anthropic-ratelimit")}
    if response.chunks is None:
        return response.status, headers, response.ended, notation.body_bytes(response)
    chunks = [notation.chunk_bytes(response, chunk) for chunk in response.chunks]
    return response.status, headers, response.ended, chunks


def times(exchange: Exchange) -> list[float]:
    """Seconds from the request to the headers and to each chunk."""
    if exchange.response is None:
        return []
    found = [exchange.response.after]
    for chunk in exchange.response.chunks or []:
        found.append(found[-1] + chunk.after)
    return found

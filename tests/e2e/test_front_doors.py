"""The gateway's other APIs through their official SDKs: every model answers through each, and is the one asked.

LiteLLM asks some models another way than the client asked; a fallback would hide what breaks there. So each test has
a scope of its own and looks at which upstream was called, and how.
"""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from proxy.catalog import load_catalog
from proxy.simulator.client import DoubleClient
from tests.conftest import Stack, until

CATALOG = load_catalog()
ALIASES = list(CATALOG.models)
WITHOUT_CHAIN = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4", "google": "gemini-2.0-flash"}
WITH_CHAIN = {"openai": "gpt-4o", "anthropic": "claude-opus-4.1", "google": "gemini-2.5-pro"}

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@dataclass(frozen=True)
class Said:
    """An answer: its text, the arguments of each call of a tool, and the usage it names."""

    text: str
    calls: list[Any]
    tokens: tuple[int, int]
    raw: Any


class Door(ABC):
    """An API through its SDK. `upstream` is the provider's API behind it, by provider."""

    upstream: ClassVar[dict[str, str]]

    def __init__(self, stack: Stack, scope: str, key: str | None = None, retries: int | None = None) -> None:
        self.url = stack.url
        self.key = key or stack.master_key
        self.headers = {"x-double-scope": scope}
        if retries is not None:
            self.headers["x-litellm-num-retries"] = str(retries)

    @abstractmethod
    def ask(self, model: str, text: str, stream: bool = False, tool: bool = False) -> Said: ...

    @abstractmethod
    def tell(self, model: str, text: str, asked: Said, result: str, stream: bool = False) -> Said:
        """The next turn: what the calls of tools in `asked` gave."""

    @abstractmethod
    def raised(self, status: int) -> type[Exception]:
        """What the SDK raises for a status."""


class Messages(Door):
    upstream: ClassVar = {"openai": "responses", "anthropic": "messages", "google": "generateContent"}
    tools: ClassVar[Any] = [{"name": "get_weather", "input_schema": PARAMETERS}]

    def ask(self, model: str, text: str, stream: bool = False, tool: bool = False) -> Said:
        return self._send(model, [{"role": "user", "content": text}], stream, tool)

    def tell(self, model: str, text: str, asked: Said, result: str, stream: bool = False) -> Said:
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": result}
            for block in asked.raw.content
            if block.type == "tool_use"
        ]
        turns = [
            {"role": "user", "content": text},
            {"role": "assistant", "content": asked.raw.content},
            {"role": "user", "content": results},
        ]
        return self._send(model, turns, stream, True)

    def _send(self, model: str, turns: Any, stream: bool, tool: bool) -> Said:
        client = anthropic.Anthropic(
            base_url=self.url, api_key=self.key, max_retries=0, timeout=60, default_headers=self.headers
        )
        offered: dict[str, Any] = {"tools": self.tools} if tool else {}
        with client:
            if stream:
                with client.messages.stream(model=model, max_tokens=400, messages=turns, **offered) as events:
                    message: Any = events.get_final_message()
            else:
                message = client.messages.create(model=model, max_tokens=400, messages=turns, **offered)
        return Said(
            "".join(block.text for block in message.content if block.type == "text"),
            [block.input for block in message.content if block.type == "tool_use"],
            (message.usage.input_tokens, message.usage.output_tokens),
            message,
        )

    def raised(self, status: int) -> type[Exception]:
        return {
            400: anthropic.BadRequestError,
            401: anthropic.AuthenticationError,
            429: anthropic.RateLimitError,
            500: anthropic.InternalServerError,
        }[status]


class StreamFailed(Exception):
    """A stream ended with response.failed."""


class Responses(Door):
    upstream: ClassVar = {"openai": "responses", "anthropic": "messages", "google": "generateContent"}
    tools: ClassVar[Any] = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS}]

    def ask(self, model: str, text: str, stream: bool = False, tool: bool = False) -> Said:
        return self._send(model, text, stream, tool)

    def tell(self, model: str, text: str, asked: Said, result: str, stream: bool = False) -> Said:
        outputs = [
            {"type": "function_call_output", "call_id": item.call_id, "output": result}
            for item in asked.raw.output
            if item.type == "function_call"
        ]
        items = [{"role": "user", "content": text}, *asked.raw.output, *outputs]
        return self._send(model, items, stream, True)

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=60, default_headers=self.headers
        )

    def _send(self, model: str, given: Any, stream: bool, tool: bool) -> Said:
        offered: dict[str, Any] = {"tools": self.tools} if tool else {}
        with self.client() as client:
            if stream:
                final: list[Any] = []
                for event in client.responses.create(model=model, input=given, stream=True, **offered):
                    if event.type in ("response.completed", "response.incomplete", "response.failed"):
                        final.append(event.response)
                response: Any = final[-1]
                if response.error is not None:  # which the SDK hands on as an event
                    raise StreamFailed(response.error.message)
            else:
                response = client.responses.create(model=model, input=given, **offered)
        return Said(
            response.output_text,
            [json.loads(item.arguments) for item in response.output if item.type == "function_call"],
            (response.usage.input_tokens, response.usage.output_tokens),
            response,
        )

    def raised(self, status: int) -> type[Exception]:
        return {
            400: openai.BadRequestError,
            401: openai.AuthenticationError,
            429: openai.RateLimitError,
            500: openai.InternalServerError,
        }[status]


class GenerateContent(Door):
    upstream: ClassVar = {"openai": "chat", "anthropic": "messages", "google": "generateContent"}
    tools: ClassVar[Any] = [{"function_declarations": [{"name": "get_weather", "parameters": PARAMETERS}]}]

    def ask(self, model: str, text: str, stream: bool = False, tool: bool = False) -> Said:
        return self._send(model, [types.Content(role="user", parts=[types.Part(text=text)])], stream, tool)

    def tell(self, model: str, text: str, asked: Said, result: str, stream: bool = False) -> Said:
        parts = [part for chunk in asked.raw for part in chunk.candidates[0].content.parts or []]
        results = [
            types.Part.from_function_response(name=part.function_call.name, response={"weather": result})
            for part in parts
            if part.function_call
        ]
        contents = [
            types.Content(role="user", parts=[types.Part(text=text)]),
            types.Content(role="model", parts=[part for part in parts if part.function_call]),
            types.Content(role="user", parts=results),
        ]
        return self._send(model, contents, stream, True)

    def _send(self, model: str, contents: Any, stream: bool, tool: bool) -> Said:
        options = types.HttpOptions(
            base_url=self.url,
            headers=self.headers,
            timeout=60_000,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        client = genai.Client(api_key=self.key, http_options=options)
        config: Any = {"tools": self.tools} if tool else {}
        chunks: list[Any]
        if stream:
            chunks = list(client.models.generate_content_stream(model=model, contents=contents, config=config))
        else:
            chunks = [client.models.generate_content(model=model, contents=contents, config=config)]
        client.close()
        usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata][-1]
        chunks = [chunk for chunk in chunks if chunk.candidates]
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
        return Said(
            "".join(part.text or "" for part in parts),
            [part.function_call.args for part in parts if part.function_call],
            (usage.prompt_token_count, usage.candidates_token_count),
            chunks,
        )

    def raised(self, status: int) -> type[Exception]:
        return errors.ServerError if status >= 500 else errors.ClientError


DOORS: list[type[Door]] = [Messages, Responses, GenerateContent]
door_names = [door.__name__ for door in DOORS]


@pytest.fixture
def scope() -> str:
    return f"doors-{uuid.uuid4().hex}"


@pytest.fixture
def scoped(stack: Stack, scope: str) -> Iterator[DoubleClient]:
    """This test's scope of the double."""
    with DoubleClient(stack.url, stack.master_key, scope) as double:
        yield double
        double.forget()


def apis(double: DoubleClient) -> set[str]:
    return {call.api for call in double.calls()}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_the_model_asked_is_the_one_that_answers(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], alias: str, stream: bool
) -> None:
    model = CATALOG.models[alias]
    door = kind(stack, scope)
    said = door.ask(alias, "Who are you?", stream=stream)
    assert said.text.startswith(f'Simulated reply from {model.upstream} to "Who are you?".')
    calls = scoped.calls()
    assert [(call.alias, call.status, call.stream) for call in calls] == [(alias, 200, stream)]
    assert calls.last.model == model.upstream
    assert calls.last.api == door.upstream[model.provider]
    sent = calls.last.request
    config = sent.get("generationConfig") or sent
    assert config["temperature"] == model.temperature
    assert min(said.tokens) > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_a_tools_round_trip(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], alias: str, stream: bool
) -> None:
    door = kind(stack, scope)
    asked = door.ask(alias, "How is the weather?", stream=stream, tool=True)
    assert asked.calls == [{"city": "example city"}]
    told = door.tell(alias, "How is the weather?", asked, "sunny and mild", stream=stream)
    assert told.calls == []
    assert '"How is the weather?"' in told.text
    assert "sunny and mild" in told.text
    assert scoped.calls().models == [alias, alias]
    assert scoped.calls().statuses == [200, 200]
    assert apis(scoped) == {door.upstream[CATALOG.models[alias].provider]}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", WITHOUT_CHAIN)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_a_scripted_reply_with_two_calls(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], provider: str, stream: bool
) -> None:
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Oslo", "Rome")]
    scoped.add_rules({"when": {"text": "both", "tool": "get_weather"}, "reply": {"text": "Both.", "tool_calls": calls}})
    said = kind(stack, scope).ask(WITHOUT_CHAIN[provider], "How is it in both?", stream=stream, tool=True)
    assert said.text == "Both."
    assert said.calls == [{"city": "Oslo"}, {"city": "Rome"}]


GOOGLES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


def status_of(error: Exception) -> int:
    return int(error.code if isinstance(error, errors.APIError) else getattr(error, "status_code", 0))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize("provider", WITHOUT_CHAIN)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_an_upstreams_error_is_the_sdks_own_exception(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], provider: str, status: int, stream: bool
) -> None:
    scoped.add_rules({"fault": {"kind": "status", "status": status, "message": "No such luck."}})
    door = kind(stack, scope, retries=0)
    with pytest.raises(door.raised(status), match=r"No such luck\.") as caught:
        door.ask(WITHOUT_CHAIN[provider], "Hello", stream=stream)
    assert type(caught.value) is door.raised(status)
    assert status_of(caught.value) == status
    if isinstance(caught.value, errors.APIError):
        assert caught.value.status == GOOGLES[status]
    assert scoped.calls().statuses == [status]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", WITH_CHAIN)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_an_error_that_lasts_falls_back_at_once(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], provider: str, stream: bool
) -> None:
    alias = WITH_CHAIN[provider]
    second = CATALOG.fallbacks[alias][0]
    scoped.add_rules({"when": {"model": alias}, "fault": 401})
    said = kind(stack, scope).ask(alias, "Hello", stream=stream)
    assert CATALOG.models[second].upstream in said.text
    assert scoped.calls().models == [alias, second]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", WITH_CHAIN)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_an_error_that_passes_is_tried_again(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], provider: str, stream: bool
) -> None:
    alias = WITH_CHAIN[provider]
    scoped.add_rules({"when": {"model": alias}, "fault": 503, "times": 1})
    said = kind(stack, scope).ask(alias, "Hello", stream=stream)
    assert CATALOG.models[alias].upstream in said.text
    assert scoped.calls().models == [alias, alias]


WITHIN_A_STREAM: dict[type[Door], type[Exception]] = {
    Messages: anthropic.APIError,
    Responses: StreamFailed,
    GenerateContent: errors.APIError,
}


@pytest.mark.parametrize("provider", WITHOUT_CHAIN)
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_an_error_within_a_stream_is_an_exception(
    stack: Stack, scope: str, scoped: DoubleClient, kind: type[Door], provider: str
) -> None:
    scoped.add_rules({"fault": {"kind": "status", "status": 500, "after_chunks": 6, "message": "No such luck."}})
    with pytest.raises(WITHIN_A_STREAM[kind], match=r"No such luck\."):
        kind(stack, scope).ask(WITHOUT_CHAIN[provider], "Hello", stream=True)
    assert scoped.calls().models == [WITHOUT_CHAIN[provider]]


@pytest.mark.parametrize("alias", ["gpt-4o", "claude-opus-4.1", "gemini-2.5-pro"])
@pytest.mark.parametrize("kind", DOORS, ids=door_names)
def test_streams_are_paid_for(
    stack: Stack, scope: str, gateway: httpx.Client, scoped: DoubleClient, kind: type[Door], alias: str
) -> None:
    key = gateway.post("/key/generate", json={}).raise_for_status().json()["key"]
    said = kind(stack, scope, key=key).ask(alias, "Who are you?", stream=True)
    price = CATALOG.models[alias].price_per_1k
    cost = (said.tokens[0] * price.input + said.tokens[1] * price.output) / 1000

    def spent() -> float:
        return float(gateway.get("/key/info", params={"key": key}).json()["info"]["spend"])

    assert until("the spend of a stream", spent, 30) == pytest.approx(cost)


def test_a_conversation_by_the_previous_response(stack: Stack, scope: str, scoped: DoubleClient) -> None:
    with Responses(stack, scope).client() as client:
        first = client.responses.create(model="gpt-4o", input="My name is Ada.")
        client.responses.create(model="gpt-4o", input="And?", previous_response_id=first.id)
        assert client.responses.retrieve(first.id).output_text == first.output_text
        with pytest.raises(openai.BadRequestError, match="not found"):
            client.responses.create(model="gpt-4o-mini", input="And?", previous_response_id="resp_" + uuid.uuid4().hex)
    one, other = scoped.calls(model="gpt-4o")
    assert other.request["previous_response_id"] == one.answer["id"]
    assert other.answer["usage"]["input_tokens"] > one.answer["usage"]["input_tokens"] + 20


@pytest.mark.parametrize("alias", ["claude-sonnet-4", "gemini-2.0-flash"])
def test_only_openais_models_know_the_previous_response(
    stack: Stack, scope: str, scoped: DoubleClient, alias: str
) -> None:
    # LiteLLM finds what was said in the spend log, where prompts are not kept.
    with Responses(stack, scope).client() as client:
        first = client.responses.create(model=alias, input="My name is Ada.")
        client.responses.create(model=alias, input="And?", previous_response_id=first.id)
        with pytest.raises(openai.InternalServerError, match="not supported"):
            client.responses.retrieve(first.id)
    assert "Ada" not in json.dumps(scoped.calls().last.request)

"""Every kind of scripted reply, from each provider in one piece and streamed, as its official SDK parses it."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

from tests.simulator.conftest import Clients
from tests.simulator.hearing import ASKED, CLAUDE, GEMINI, GPT, Ask, asker
from tests.simulator.running import Double

USER: list[Any] = [{"role": "user", "content": ASKED}]

TWO_CALLS: list[dict[str, Any]] = [
    {"name": "get_weather", "arguments": {"city": "Turin"}},
    {"name": "get_weather", "arguments": {"city": "Milan"}},
]


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(params=["openai", "anthropic", "google"])
def provider(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "stream")


@pytest.fixture
def ask(provider: str, stream: bool, double: Double, clients: Clients) -> Ask:
    return asker(provider, stream, clients)


def own(provider: str, openai: str, anthropic: str, google: str) -> str:
    return {"openai": openai, "anthropic": anthropic, "google": google}[provider]


def test_text(double: Double, ask: Ask, provider: str, stream: bool) -> None:
    text = "Schön, 22 °C in Turin 🌞 – and dry all day long."
    double.rules({"reply": text})
    heard = ask()
    assert (heard.text, heard.calls) == (text, [])
    assert heard.finish == own(provider, "stop", "end_turn", "STOP")
    assert heard.completion > 10
    assert not stream or heard.said > 1


def test_text_instead_of_the_tool_that_would_be_called(double: Double, ask: Ask) -> None:
    assert [name for name, _ in ask(tools=True).calls] == ["get_weather"]
    double.rules({"reply": "No tool."})
    heard = ask(tools=True)
    assert (heard.text, heard.calls) == ("No tool.", [])


def test_several_tool_calls_at_once(double: Double, ask: Ask, provider: str) -> None:
    double.rules({"reply": {"tool_calls": [*TWO_CALLS, {"name": "get_time"}]}})
    heard = ask(tools=True)
    assert heard.text == ""
    assert heard.calls == [("get_weather", {"city": "Turin"}), ("get_weather", {"city": "Milan"}), ("get_time", {})]
    assert heard.finish == own(provider, "tool_calls", "tool_use", "STOP")
    assert len(set(heard.ids)) == len(heard.ids)
    assert len(heard.ids) == (0 if provider == "google" else 3)


def test_text_before_tool_calls(double: Double, ask: Ask, provider: str) -> None:
    double.rules({"reply": {"text": "I will look.", "tool_calls": TWO_CALLS}})
    heard = ask(tools=True)
    assert heard.text == "I will look."
    assert [arguments["city"] for _, arguments in heard.calls] == ["Turin", "Milan"]
    assert heard.finish == own(provider, "tool_calls", "tool_use", "STOP")


def test_a_tool_call_without_arguments_has_those_of_the_clients_schema(double: Double, ask: Ask) -> None:
    double.rules({"reply": {"tool_calls": [{"name": "get_weather"}]}})
    assert ask(tools=True).calls == [("get_weather", {"city": "example city"})]


def test_a_tool_call_whose_schema_has_no_arguments(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": {"tool_calls": [{"name": "f"}]}})
    schema = {"type": "object", "properties": {"a": False}, "required": ["a"]}
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    with pytest.raises(openai.BadRequestError, match="Invalid schema for function 'f'"):
        openai_client.chat.completions.create(model=GPT, messages=USER, tools=tools, tool_choice="none")


def test_a_tool_that_is_not_offered_can_be_called(double: Double, ask: Ask) -> None:
    double.rules({"reply": {"tool_calls": [{"name": "made_up"}]}})
    assert ask().calls == [("made_up", {})]


def test_no_tool_calls_are_the_simulators_own_text(double: Double, ask: Ask) -> None:
    double.rules({"reply": {"tool_calls": []}})
    heard = ask(tools=True)
    assert "weather in Turin" in heard.text
    assert heard.calls == []


@pytest.mark.parametrize("value", [{"a": [1, None, "é"]}, [], "text", 0, False])
def test_json(double: Double, ask: Ask, value: Any) -> None:
    double.rules({"reply": {"json": value}})
    assert json.loads(ask().text) == value


def test_refusal(double: Double, ask: Ask, provider: str, stream: bool) -> None:
    double.rules({"reply": {"refusal": "I cannot help with that."}})
    heard = ask(tools=True)
    # Google's SDK keeps Gemini's finishMessage to itself.
    assert heard.refusal == own(provider, "I cannot help with that.", "I cannot help with that.", "")
    assert heard.finish == own(provider, "stop", "refusal", "SAFETY")
    assert heard.text == own(provider, "", "I cannot help with that.", "")
    assert heard.calls == []


@pytest.mark.parametrize(
    ("given", "openai", "anthropic", "google"),
    [
        ("stop", "stop", "end_turn", "STOP"),
        ("length", "length", "max_tokens", "MAX_TOKENS"),
        ("tool_calls", "tool_calls", "tool_use", "STOP"),
        ("content_filter", "content_filter", "refusal", "SAFETY"),
    ],
)
def test_finish_reason(
    double: Double, ask: Ask, provider: str, given: str, openai: str, anthropic: str, google: str
) -> None:
    double.rules({"reply": {"text": "As far as it", "finish_reason": given}})
    heard = ask()
    assert heard.text == "As far as it"
    assert heard.finish == own(provider, openai, anthropic, google)


def test_a_function_forced_by_name_ends_with_stop_unless_the_script_says_otherwise(
    double: Double, openai_client: openai.OpenAI
) -> None:
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    forced: Any = {"type": "function", "function": {"name": "f"}}
    for script, finish in (({}, "stop"), ({"finish_reason": "tool_calls"}, "tool_calls")):
        double.rules({"reply": script})
        reply = openai_client.chat.completions.create(model=GPT, messages=USER, tools=tools, tool_choice=forced)
        assert reply.choices[0].finish_reason == finish
        assert reply.choices[0].message.tool_calls


def test_a_finish_reason_alone_leaves_the_rest(double: Double, ask: Ask, provider: str) -> None:
    expected = ask().text
    double.rules({"reply": {"finish_reason": "length"}})
    heard = ask()
    assert heard.text == expected
    assert heard.finish == own(provider, "length", "max_tokens", "MAX_TOKENS")


def test_the_requests_limit_holds(double: Double, ask: Ask, provider: str) -> None:
    double.rules({"reply": "one two three four five six"})
    heard = ask(**{"google": {"max_output_tokens": 3}}.get(provider, {"max_tokens": 3}))
    assert (heard.text, heard.completion) == ("one two three", 3)
    assert heard.finish == own(provider, "length", "max_tokens", "MAX_TOKENS")


def test_the_limit_cuts_the_last_of_several_calls(double: Double, ask: Ask, provider: str) -> None:
    double.rules({"reply": {"text": "Look.", "tool_calls": TWO_CALLS}})
    whole = ask(tools=True)
    name = "max_output_tokens" if provider == "google" else "max_tokens"
    try:
        heard = ask(tools=True, **{name: whole.completion - 3})
    except ValueError:  # OpenAI sends the arguments as far as they go, which is no JSON
        assert provider == "openai"
        return
    assert heard.completion == whole.completion - 3
    assert heard.calls == [whole.calls[0], *([] if provider == "google" else [("get_weather", {})])]
    assert heard.finish == own(provider, "", "max_tokens", "MAX_TOKENS")


def test_the_requests_stop_sequences_hold(double: Double, ask: Ask, provider: str) -> None:
    double.rules({"reply": "one two three four"})
    heard = ask(**{"openai": {"stop": ["three"]}}.get(provider, {"stop_sequences": ["three"]}))
    assert heard.text == "one two "
    assert heard.finish == own(provider, "stop", "stop_sequence", "STOP")


def test_prompt_tokens(double: Double, ask: Ask) -> None:
    double.rules({"reply": {"prompt_tokens": 123_456}})
    assert ask().prompt == 123_456


def test_reasoning_tokens_are_counted_on_top(double: Double, ask: Ask) -> None:
    double.rules({"reply": "Done."})
    plain = ask()
    double.rules({"reply": {"text": "Done.", "reasoning_tokens": 640}})
    heard = ask()
    assert plain.reasoning == 0
    assert (heard.reasoning, heard.completion) == (640, plain.completion + 640)
    assert heard.text == "Done."


def test_reasoning_takes_of_the_limit_first(double: Double, ask: Ask, provider: str) -> None:
    double.rules({"reply": {"text": "Done.", "reasoning_tokens": 640}})
    heard = ask(**{"google": {"max_output_tokens": 100}}.get(provider, {"max_tokens": 100}))
    assert (heard.text, heard.reasoning, heard.completion) == ("", 100, 100)
    assert heard.finish == own(provider, "length", "max_tokens", "MAX_TOKENS")


def test_a_stream_tells_what_a_whole_reply_tells(double: Double, clients: Clients, provider: str) -> None:
    double.rules({"reply": {"text": "I will look.", "tool_calls": TWO_CALLS, "reasoning_tokens": 7}})
    whole, streamed = (asker(provider, stream, clients)(tools=True) for stream in (False, True))
    whole.said = streamed.said
    assert streamed == whole


def test_turns_of_a_conversation(double: Double, clients: Clients) -> None:
    double.rules(
        {"when": {"turn": 1}, "reply": {"tool_calls": TWO_CALLS}},
        {"when": {"tool_result": "get_weather"}, "reply": "It rains in both."},
    )
    ask = asker("openai", False, clients)
    first = ask(tools=True)
    calls = [
        {"id": one, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for one, (name, _) in zip(first.ids, first.calls, strict=True)
    ]
    answered = [{"role": "tool", "tool_call_id": one, "content": "rain"} for one in first.ids]
    turns = [*USER, {"role": "assistant", "content": None, "tool_calls": calls}, *answered]
    assert ask(tools=True, messages=turns).text == "It rains in both."


# -- the SDKs' own helpers ---------------------------------------------------------------------------------


def test_openai_parses_the_json_of_a_script(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": {"json": {"name": "Ada", "age": 36}}})
    reply = openai_client.chat.completions.parse(model=GPT, messages=USER, response_format=Person)
    assert reply.choices[0].message.parsed == Person(name="Ada", age=36)
    with openai_client.chat.completions.stream(model=GPT, messages=USER, response_format=Person) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Person(name="Ada", age=36)


def test_openai_parses_a_refusal(double: Double, openai_client: openai.OpenAI) -> None:
    double.rules({"reply": {"refusal": "No."}})
    whole = openai_client.chat.completions.parse(model=GPT, messages=USER, response_format=Person)
    with openai_client.chat.completions.stream(model=GPT, messages=USER, response_format=Person) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_completion()
    assert "refusal.delta" in kinds
    assert "refusal.done" in kinds
    for reply in (whole, streamed):
        message = reply.choices[0].message
        assert (message.parsed, message.refusal, message.content) == (None, "No.", None)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("length", openai.LengthFinishReasonError),
        ("content_filter", openai.ContentFilterFinishReasonError),
    ],
)
def test_openai_raises_for_a_finish_that_cannot_be_parsed(
    double: Double, openai_client: openai.OpenAI, reason: str, expected: type[Exception]
) -> None:
    double.rules({"reply": {"text": '{"na', "finish_reason": reason}})
    with pytest.raises(expected):
        openai_client.chat.completions.parse(model=GPT, messages=USER, response_format=Person)


def test_openai_parses_several_tool_calls(double: Double, openai_client: openai.OpenAI) -> None:
    people = [{"name": "Person", "arguments": {"name": name, "age": 36}} for name in ("Ada", "Grace")]
    double.rules({"reply": {"tool_calls": people}})
    tools: Any = [openai.pydantic_function_tool(Person)]
    with openai_client.chat.completions.stream(model=GPT, messages=USER, tools=tools) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    parsed = [call.function.parsed_arguments for call in message.tool_calls]
    assert parsed == [Person(name="Ada", age=36), Person(name="Grace", age=36)]


def test_anthropics_tool_runner(double: Double, anthropic_client: anthropic.Anthropic) -> None:
    asked: list[str] = []

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather.

        Args:
            city: where
        """
        asked.append(city)
        return f"rain in {city}"

    double.rules({"when": {"turn": 1}, "reply": {"text": "I will look.", "tool_calls": TWO_CALLS}})
    for stream in (False, True):
        asked.clear()
        runner: Any = anthropic_client.beta.messages.tool_runner(
            model=CLAUDE, max_tokens=1000, messages=USER, tools=[get_weather], stream=stream
        )
        last = runner.until_done()
        assert asked == ["Turin", "Milan"]
        # Without a rule for the second turn, the answer quotes both results.
        assert '"rain in Turin" and "rain in Milan"' in last.content[0].text


def test_anthropic_parses_the_json_of_a_script(double: Double, anthropic_client: anthropic.Anthropic) -> None:
    double.rules({"reply": {"json": {"name": "Ada", "age": 36}}})
    reply = anthropic_client.messages.parse(model=CLAUDE, max_tokens=100, messages=USER, output_format=Person)
    assert reply.parsed_output == Person(name="Ada", age=36)


def test_gemini_calls_functions_by_itself(double: Double, gemini_client: genai.Client) -> None:
    asked: list[str] = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return f"rain in {city}"

    double.rules({"when": {"turn": 1}, "reply": {"tool_calls": TWO_CALLS}})
    config = types.GenerateContentConfig(tools=[get_weather])
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert asked == ["Turin", "Milan"]
    assert '"rain in Turin" and "rain in Milan"' in (reply.text or "")


def test_gemini_parses_the_json_of_a_script(double: Double, gemini_client: genai.Client) -> None:
    double.rules({"reply": {"json": {"name": "Ada", "age": 36}}})
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Person)
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert reply.parsed == Person(name="Ada", age=36)


def test_gemini_rates_the_safety_of_what_it_blocks(double: Double, gemini_client: genai.Client) -> None:
    double.rules({"reply": {"finish_reason": "content_filter"}})
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED)
    assert reply.candidates is not None
    ratings = reply.candidates[0].safety_ratings or []
    assert [rating.category for rating in ratings if rating.blocked] == [
        types.HarmCategory.HARM_CATEGORY_DANGEROUS_CONTENT
    ]


def test_gemini_says_a_refusal_as_the_candidates_finish_message(double: Double) -> None:
    double.rules({"reply": {"refusal": "I cannot help with that."}})
    body = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}
    path = f"/gemini/v1beta/models/{GEMINI}:generateContent"
    [candidate] = double.http.post(path, json=body, headers={"x-goog-api-key": "any"}).json()["candidates"]
    assert (candidate["finishReason"], candidate["finishMessage"]) == ("SAFETY", "I cannot help with that.")
    assert "parts" not in candidate["content"]


def test_n_choices_of_a_scripted_text(
    double: Double, openai_client: openai.OpenAI, gemini_client: genai.Client
) -> None:
    double.rules({"reply": "Same."})
    completion = openai_client.chat.completions.create(model=GPT, messages=USER, n=3)
    assert [choice.message.content for choice in completion.choices] == ["Same."] * 3
    config = types.GenerateContentConfig(candidate_count=3)
    reply = gemini_client.models.generate_content(model=GEMINI, contents=ASKED, config=config)
    assert [candidate.index for candidate in reply.candidates or ()] == [0, 1, 2]

"""The tool loop: what the model asks for is done, and what came of it is told to the model."""

from __future__ import annotations

import json

import pytest
from travel.assistant import ROUNDS, Unavailable

pytestmark = pytest.mark.llm_double(strict=True)


def test_a_question_that_needs_no_tool(assistant, llm_double):
    llm_double.reply("Take the train.", text="Berlin to Hamburg")
    answer = assistant.ask("How do I get from Berlin to Hamburg?")
    assert (answer.text, answer.tools_used) == ("Take the train.", [])
    assert llm_double.calls.models == ["gpt-5-mini"]


def test_two_tools_at_once_then_an_answer(assistant, llm_double):
    wanted = {"weather": {"city": "Lisbon"}, "flights": {"origin": "Berlin", "destination": "Lisbon"}}
    llm_double.reply(tool_calls=wanted, turn=1)
    llm_double.reply("Go: sunny, and 189 EUR.", tool_result="189 EUR")
    answer = assistant.ask("Is Lisbon worth a trip from Berlin?")
    assert answer.text == "Go: sunny, and 189 EUR."
    assert answer.tools_used == ["weather", "flights"]
    results = [message["content"] for message in llm_double.calls.last.request["messages"] if message["role"] == "tool"]
    assert results == ["sunny, 24 °C", "from 189 EUR"]


def test_one_tool_after_the_other(assistant, llm_double):
    llm_double.reply(tool_calls={"weather": {"city": "Rome"}}, turn=1)
    llm_double.reply(tool_calls={"weather": {"city": "Lisbon"}}, turn=2, tool_result="rain")
    llm_double.reply("Lisbon rather than Rome.", turn=3, tool_result="sunny")
    assert assistant.ask("Rome or Lisbon?").text == "Lisbon rather than Rome."
    llm_double.calls.assert_count(3)


def test_a_tool_that_fails_is_told_to_the_model(assistant, llm_double):
    llm_double.reply(tool_calls={"weather": {"city": "Atlantis"}}, turn=1)
    llm_double.reply("I know no such city.", tool_result="no weather for Atlantis")
    assert assistant.ask("And Atlantis?").text == "I know no such city."


def test_a_tool_that_the_model_made_up(assistant, llm_double):
    llm_double.reply(tool_calls={"hotels": {"city": "Rome"}}, turn=1)
    llm_double.reply("I cannot book hotels.", tool_result="there is no tool 'hotels'")
    assert assistant.ask("A hotel in Rome?").text == "I cannot book hotels."


def test_a_model_that_never_comes_to_an_end(assistant, llm_double):
    for_ever = llm_double.reply(tool_calls={"weather": {"city": "Oslo"}})
    with pytest.raises(Unavailable, match="another way"):
        assistant.ask("Oslo?")
    assert for_ever.used == ROUNDS


def test_arguments_that_the_double_makes_up_fit_the_tool(assistant, llm_double):
    """Without arguments the double makes some that are valid by the tool's schema."""
    llm_double.reply(tool_calls=[{"name": "flights"}], turn=1)
    llm_double.reply("None, sorry.", tool_result="no flights")
    assert assistant.ask("Any flights?").text == "None, sorry."
    (call,) = llm_double.calls.last.request["messages"][-2]["tool_calls"]
    assert set(json.loads(call["function"]["arguments"])) == {"origin", "destination"}


@pytest.mark.llm_double(script="travel.yaml")
def test_rules_from_a_file(assistant, llm_double):
    llm_double.reply("Bring an umbrella.", tool_result="rain")
    assert assistant.ask("What should I pack for Rome?").text == "Bring an umbrella."

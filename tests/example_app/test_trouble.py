"""Limits and outages: who is asked instead, how often, how long we wait, what the customer is told."""

from __future__ import annotations

import pytest
from travel.assistant import Assistant, Unavailable

CLAUDE = "claude-opus-4.1"
GEMINI = "gemini-2.5-pro"


def test_429_is_waited_out_as_the_provider_asks(llm_double):
    assistant = Assistant("gpt-4o-mini")  # it has no fallback
    llm_double.fail(429, retry_after=1, times=1)
    llm_double.reply("Here I am.")
    assert assistant.ask("Hello?").text == "Here I am."
    refused, answered = llm_double.calls.wait_for(2)
    assert (refused.status, answered.status) == (429, 200)
    assert answered.started_at - refused.ended_at >= 1


def test_a_429_that_stays_is_told_to_the_customer(llm_double):
    llm_double.fail(429, retry_after=0)
    with pytest.raises(Unavailable, match="in a minute"):
        Assistant("gpt-4o-mini", patience=1).ask("Hello?")
    llm_double.calls.assert_models("gpt-4o-mini", "gpt-4o-mini")


def test_a_limit_of_the_provider_lets_so_many_through(llm_double):
    llm_double.fail("rate_limit", requests=2, per="1h")
    llm_double.reply("Hello.")
    assistant = Assistant("gpt-4o-mini", patience=0)
    assert [assistant.ask("Hello?").text for _ in range(2)] == ["Hello.", "Hello."]
    with pytest.raises(Unavailable):
        assistant.ask("Hello?")


def test_an_outage_of_openai_is_answered_by_claude(assistant, llm_double):
    llm_double.outage("openai")
    llm_double.reply("Claude here.", provider="anthropic")
    answer = assistant.ask("Anybody there?")
    assert (answer.text, answer.stand_in) == ("Claude here.", True)
    llm_double.calls.assert_models("gpt-5-mini", "gpt-4o", CLAUDE)


def test_an_outage_of_two_providers_is_answered_by_gemini(assistant, llm_double):
    llm_double.outage("openai")
    llm_double.outage("anthropic", 529)
    llm_double.reply("Gemini here.", provider="google")
    assert assistant.ask("Anybody there?").text == "Gemini here."
    llm_double.calls.assert_models("gpt-5-mini", "gpt-4o", CLAUDE, GEMINI)
    assert [call.status for call in llm_double.calls] == [503, 503, 529, 200]


def test_an_outage_of_all(llm_double):
    for provider in ("openai", "anthropic", "google"):
        llm_double.outage(provider)
    with pytest.raises(Unavailable):
        Assistant(patience=0).ask("Anybody there?")
    llm_double.calls.assert_models("gpt-5-mini", "gpt-4o", CLAUDE, GEMINI)


def test_after_an_outage_the_first_model_answers_again(assistant, llm_double):
    llm_double.reply("Hello.")
    with llm_double.outage("openai") as outage:
        assert assistant.ask("One?").stand_in
    assert not assistant.ask("Two?").stand_in
    assert outage.used == 2
    assert llm_double.calls(text="Two?").models == ["gpt-5-mini"]


@pytest.mark.parametrize("fault", ["drop", "malformed", 400, 401, 404, 408, 500, 502, 503, 529])
def test_whatever_goes_wrong_with_the_first_model_the_second_answers(assistant, llm_double, fault):
    llm_double.fail(fault, model="gpt-5-mini")
    llm_double.reply("Second here.", model="gpt-4o")
    assert assistant.ask("Hello?").text == "Second here."
    llm_double.calls.assert_models("gpt-5-mini", "gpt-4o")

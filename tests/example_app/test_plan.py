"""Structured output, and the second opinion on it."""

from __future__ import annotations

import anthropic
import openai
import pytest
from travel.assistant import Itinerary, Refused, Stop
from travel.reviewer import review

PLAN = Itinerary(title="Two cities", stops=[Stop(city="Rome", nights=2), Stop(city="Lisbon", nights=3)])


def test_the_models_json_becomes_an_itinerary(assistant, llm_double):
    llm_double.reply(json=PLAN.model_dump())
    assert assistant.plan("Rome and Lisbon, five nights") == PLAN
    sent = llm_double.calls.last.request["response_format"]["json_schema"]
    assert sent["name"] == "Itinerary"


def test_without_a_script_any_itinerary_comes_that_fits_the_schema(assistant, llm_double):
    assert isinstance(assistant.plan("Surprise me"), Itinerary)


def test_json_of_another_shape(assistant, llm_double):
    llm_double.reply(json={"title": "No stops"})
    with pytest.raises(ValueError, match="stops"):
        assistant.plan("Rome")


def test_a_refusal(assistant, llm_double):
    llm_double.reply(refusal="I don't plan heists.")
    with pytest.raises(Refused, match="heists"):
        assistant.plan("The vault of a bank in Rome")


def test_an_answer_that_was_too_long(assistant, llm_double):
    llm_double.reply('{"title": "Ro', finish_reason="length")
    with pytest.raises(openai.LengthFinishReasonError):
        assistant.plan("All of Italy")


@pytest.mark.anyio
async def test_claude_reviews_it(llm_double):
    llm_double.reply("Too short for Rome.", provider="anthropic", text="2 nights in Rome")
    assert await review(PLAN) == "Too short for Rome."
    assert llm_double.calls.last.api == "messages"


@pytest.mark.anyio
async def test_claude_is_overloaded(llm_double):
    llm_double.fail(529, model="claude-sonnet-4")
    with pytest.raises(anthropic.APIStatusError):
        await review(PLAN)


@pytest.mark.anyio
async def test_cities_compared_at_the_same_time(assistant, llm_double):
    cities = ["Rome", "Lisbon", "Oslo", "Paris"]
    for city in cities:
        llm_double.reply(f"{city} is a city.", text=city)
    assert await assistant.compare(cities) == {city: f"{city} is a city." for city in cities}
    llm_double.calls.assert_count(4)
    llm_double.calls(text="Oslo").assert_count(1)

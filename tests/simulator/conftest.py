"""A real simulator for the whole run, and the official SDKs pointed at it."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import openai
import pytest
from google import genai

from tests.simulator.running import Double, make_gemini_client, port_of, start


@pytest.fixture(scope="session")
def simulator() -> Iterator[Double]:
    process = start()
    try:
        yield Double(port_of(process))
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert process.communicate() == ("", "")


@pytest.fixture
def double(simulator: Double) -> Double:
    simulator.reset()
    return simulator


@pytest.fixture(scope="session")
def openai_client(simulator: Double) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=simulator.bases["openai"], api_key="any", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
def anthropic_client(simulator: Double) -> Iterator[anthropic.Anthropic]:
    base = simulator.bases["anthropic"]
    with anthropic.Anthropic(base_url=base, api_key="any", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
def gemini_client(simulator: Double) -> genai.Client:
    return make_gemini_client(simulator)

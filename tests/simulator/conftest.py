"""A real simulator for the whole run, and the official SDKs pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import anthropic
import openai
import pytest
from google import genai

from tests.simulator.running import Double, make_gemini_client, port_of, start

ALIASES = {"fast": ("openai", "gpt-5-mini-2025-08-07"), "deep": ("anthropic", "claude-3-opus-20240229")}


@pytest.fixture(scope="session")
def simulator() -> Iterator[Double]:
    process = start(aliases=ALIASES)
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


@dataclass(frozen=True)
class Clients:
    """The official SDKs, without retries."""

    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    gemini: genai.Client


@pytest.fixture(scope="session")
def clients(simulator: Double) -> Iterator[Clients]:
    bases = simulator.bases
    made = Clients(
        openai.OpenAI(base_url=bases["openai"], api_key="any", max_retries=0, timeout=10),
        anthropic.Anthropic(base_url=bases["anthropic"], api_key="any", max_retries=0, timeout=10),
        make_gemini_client(simulator),
    )
    yield made
    made.openai.close()
    made.anthropic.close()
    made.gemini.close()


@pytest.fixture
def openai_client(double: Double, clients: Clients) -> openai.OpenAI:
    return clients.openai


@pytest.fixture
def anthropic_client(double: Double, clients: Clients) -> anthropic.Anthropic:
    return clients.anthropic


@pytest.fixture
def gemini_client(double: Double, clients: Clients) -> genai.Client:
    return clients.gemini

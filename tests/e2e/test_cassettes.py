"""Through the whole gateway: recorded in live mode from a simulator that acts as the providers, then replayed.

The providers' `base_url` in proxy.yaml leads to that simulator; the keys are made up.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy import secrets
from proxy.catalog.load import default_path
from proxy.render.litellm import PROBES_SCOPE
from proxy.simulator import scopes
from proxy.simulator.cassettes import recorder
from proxy.simulator.cassettes.load import read_file
from tests.conftest import Stack, free_port, until
from tests.simulator.cassettes.running import simulating
from tests.simulator.running import Double

KEYS = {
    "OPENAI_API_KEY": "sk-" + "proj-made-up-Kq3xZw8",
    "ANTHROPIC_API_KEY": "sk-" + "ant-made-up-Rt5yBn2",
    "GEMINI_API_KEY": "made-up-for-google-Vc7uJm4",
}
MODELS = ("gpt-4o-mini", "claude-sonnet-4", "gemini-2.0-flash")
RULES: list[dict[str, Any]] = [
    {"when": {"tool": "weather"}, "reply": {"tool_calls": [{"name": "weather", "arguments": {"city": "Oslo"}}]}},
    {"when": {"text": "too much"}, "fault": {"kind": "status", "status": 429, "retry_after": 0}},
    {"when": {"text": "break off"}, "fault": {"kind": "cut", "after_chunks": 4}},
    {"when": {"text": "fall back", "model": "gpt-4o"}, "fault": {"kind": "status", "status": 401}},
    {"reply": "The provider's own words, in more than a single chunk."},
]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def ask(client: openai.OpenAI, model: str, text: str, **options: Any) -> Any:
    """What a client makes of the answer, less the ids that LiteLLM makes up."""
    messages: Any = [{"role": "user", "content": text}]
    try:
        answer = client.chat.completions.create(model=model, messages=messages, **options)
    except openai.APIStatusError as error:
        return error.status_code
    choice = answer.choices[0]
    calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
    return answer.model, choice.message.content, choice.finish_reason, calls, answer.usage.model_dump()


def ask_stream(client: openai.OpenAI, model: str, text: str) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    deltas: list[str | None] = []
    try:
        for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
            deltas += [choice.delta.content or choice.finish_reason for choice in chunk.choices]
    except openai.APIError as error:
        deltas.append(type(error).__name__)
    return deltas


def ask_all(stack: Stack) -> dict[str, Any]:
    with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.master_key, max_retries=0, timeout=60) as client:
        found: dict[str, Any] = {}
        for model in MODELS:
            found[f"{model} text"] = ask(client, model, "Hello")
            found[f"{model} tools"] = ask(client, model, "Weather?", tools=[TOOL])
            found[f"{model} stream"] = ask_stream(client, model, "Hello")
            found[f"{model} cut"] = ask_stream(client, model, "break off")
            found[f"{model} 429"] = ask(client, model, "too much")
        found["fallback"] = ask(client, "gpt-4o", "fall back")
        return found


def write_config(folder: Path, bases: dict[str, str]) -> Path:
    text = default_path().read_text(encoding="utf-8")
    for name, key in (("openai", "OPENAI"), ("anthropic", "ANTHROPIC"), ("google", "GEMINI")):
        text = text.replace(f"key_env: {key}_API_KEY}}", f"key_env: {key}_API_KEY, base_url: '{bases[name]}'}}")
    text = text.replace("retries: 3 ", "retries: 1 ").replace("retry_delay_seconds: 2 ", "retry_delay_seconds: 0.1 ")
    assert text.count("base_url: '") == 3
    assert text.count("retries: 1 ") == text.count("retry_delay_seconds: 0.1 ") == 1
    file = folder / "proxy.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@dataclass
class Recorded:
    file: Path
    found: dict[str, Any]
    said_at_start: str
    status: dict[str, Any]
    status_text: str
    stack: Stack
    config: Path
    probes: int


@pytest.fixture(scope="module")
def provider() -> Iterator[Double]:
    with simulating() as double:
        double.rules(*RULES)
        yield double


@pytest.fixture(scope="module")
def recorded(provider: Double, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    stack, file = Stack(folder, free_port()), folder / "cassettes" / "demo.yaml"
    config = write_config(folder, provider.bases)
    stack.env_file.write_text("".join(f"{name}={key}\n" for name, key in KEYS.items()))
    where = ["--port", str(stack.port), "--env-file", str(stack.env_file), "--config", str(config)]
    try:
        said = stack.command("double", "record", str(file), "--detach", *where).stdout
        probes = len(provider.journal(scope="*"))
        found = ask_all(stack)
        until("recorded", lambda: stack.status()["recorder"]["recorded"] == len(provider.journal()) - probes)
        status, text = stack.status(), stack.command("status").stdout
    finally:
        stack.down()
    return Recorded(file, found, said, status, text, stack, config, probes)


def test_the_recorder_is_said_at_start_and_in_status(recorded: Recorded) -> None:
    assert "live mode" in recorded.said_at_start
    assert f"Recording what the providers answer into {recorded.file}; keys are left out." in recorded.said_at_start
    assert "Smoke" not in recorded.said_at_start
    assert recorded.status["mode"] == "live"
    assert recorded.status["services"]["recorder"]["running"]
    assert recorded.status["recorder"]["problem"] is None
    count = len(read_file(recorded.file).all)
    assert f"recording into {recorded.file}: {count} exchanges" in recorded.status_text


def test_the_recorded_answers_are_the_providers(recorded: Recorded, provider: Double) -> None:
    for model in MODELS:
        assert recorded.found[f"{model} text"][1] == RULES[-1]["reply"]
        ((name, arguments),) = recorded.found[f"{model} tools"][3]
        assert (name, json.loads(arguments)) == ("weather", {"city": "Oslo"})
        assert "".join(filter(None, recorded.found[f"{model} stream"][:-1])).startswith(RULES[-1]["reply"])
        assert recorded.found[f"{model} 429"] == 429
    assert recorded.found["fallback"][1] == RULES[-1]["reply"]
    keys = {entry["headers"].get("x-double-scope") for entry in provider.journal(scope="*")}
    assert keys == {None}, "what is ours went to the provider"


def test_neither_keys_nor_probes_are_in_the_file(recorded: Recorded) -> None:
    text = recorded.file.read_text(encoding="utf-8")
    ours = secrets.read_env_file(recorded.stack.env_file)
    assert len(ours) == len(KEYS) + 5
    assert not [name for name, value in ours.items() if value in text]
    assert "x-double" not in text
    assert recorded.probes >= 8, "the gateway made no probes"
    asked = {str(one.request.json_) for one in read_file(recorded.file).all}
    assert all(
        any(word in one for word in ("Hello", "Weather?", "too much", "break off", "fall back")) for one in asked
    )


def test_one_name_for_the_scope_of_probes() -> None:
    assert PROBES_SCOPE == scopes.PROBES == recorder.PROBES.decode()


def test_replayed_the_gateway_answers_the_same(recorded: Recorded, provider: Double) -> None:
    """Without the provider, without keys; a virtual key's scope plays the cassette from its beginning."""
    provider.rules({"fault": {"kind": "status", "status": 500}})
    asked = len(provider.journal(scope="*"))
    stack = recorded.stack
    stack.env_file.write_text(
        "".join(line for line in stack.env_file.read_text().splitlines(True) if line.split("=")[0] not in KEYS)
    )
    try:
        said = stack.up("--replay", str(recorded.file), "--config", str(recorded.config)).stdout
        assert "double mode" in said
        assert f"Replaying           {recorded.file}" in said
        first = stack.pid("simulator")
        again = ask_all(stack)
        assert again == recorded.found
        shown = json.loads(stack.command("double", "replay", "--json").stdout)
        assert (shown["exchanges"], shown["left"]) == (len(read_file(recorded.file).all), [])
        with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.master_key, max_retries=0) as client:
            messages: Any = [{"role": "user", "content": "Hello?"}]
            with pytest.raises(openai.BadRequestError) as miss:
                client.chat.completions.create(model="gpt-4o-mini", messages=messages)
            assert 'messages.0.content is "Hello?", recorded: "Hello"' in str(miss.value)
            os.kill(first, signal.SIGKILL)
            until("another simulator", lambda: stack.pid("simulator") != first)
            until(
                "the cassette again", lambda: ask(client, "gpt-4o-mini", "Hello") == recorded.found["gpt-4o-mini text"]
            )
        off = stack.command("double", "replay", "--off").stdout
        assert off == "Scope default has no cassette.\n"
        loaded = stack.command("double", "replay", str(recorded.file), "--scope", "mine", "--match", "order").stdout
        assert "Scope mine: " in loaded
        assert "0 played, match order, timing none" in loaded
        bad = recorded.file.with_name("bad.yaml")
        bad.write_text(recorded.file.read_text().replace("api: chat", "api: chatt", 1))
        refused = stack.command("double", "replay", str(bad), check=False)
        assert refused.returncode == 1
        assert "exchanges.0.api: 'chatt' is not one of chat" in refused.stderr
    finally:
        stack.down()
    assert len(provider.journal(scope="*")) == asked


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mode", "double", "--record", "a.yaml"], "--record keeps what the real providers answer"),
        (["--mode", "live", "--replay", "a.yaml"], "--replay answers from a file in the providers' place"),
        (["--record", "a.yaml", "--replay", "b.yaml"], "--record and --replay exclude each other"),
        (["--record", "a.yaml"], "openai: OPENAI_API_KEY is not set"),
        (["--replay", "missing.yaml"], "missing.yaml: no such file"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(words: list[str], message: str, tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_port())
    paths = [str(tmp_path / word) if word.endswith(".yaml") else word for word in words]
    done = stack.up(*paths, check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert stack.state.leftovers() == []

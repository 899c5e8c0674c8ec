"""The clients of scripts/examples, run as a user runs them, against the shared stack."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from proxy.catalog import load_catalog
from proxy.database.engine import node_binary
from tests.checks.broken import Broken, Got, Sent, serving
from tests.conftest import Double, Stack, bare_environment

NAMES = ["chat.sh", "chat_requests.py", "chat_openai.py", "chat_axios.ts", "chat_openai.ts"]


@pytest.fixture
def run(stack: Stack, node_examples: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(name: str, *arguments: str, key: str = "", url: str = "") -> subprocess.CompletedProcess[str]:
        interpreter = {".sh": "bash", ".py": sys.executable, ".ts": str(node_binary())}[Path(name).suffix]
        environment = {
            **bare_environment(),
            "LITELLM_PROXY_URL": url or stack.url,
            "LITELLM_MASTER_KEY": key or stack.master_key,
            "NO_PROXY": "127.0.0.1",
        }
        return subprocess.run(
            [interpreter, str(node_examples / name), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=90,
            check=False,
        )

    return run


def printed(name: str, done: subprocess.CompletedProcess[str]) -> str:
    """The model's answer as the example printed it: curl's prints the whole body."""
    assert done.returncode == 0, done.stderr
    text = json.loads(done.stdout)["choices"][0]["message"]["content"] if name == "chat.sh" else done.stdout
    return text.strip()


@pytest.mark.parametrize("name", NAMES)
def test_it_prints_the_models_answer(run: Callable, gateway: httpx.Client, name: str) -> None:
    text = 'What is a "proxy" \\ über?\nTell\tme & all.'
    body = {"model": "claude-sonnet-4", "messages": [{"role": "user", "content": text}]}
    expected = gateway.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert printed(name, run(name, "claude-sonnet-4", text)) == expected.strip()


class Limited(Broken):
    """The gateway behind a limit: it answers the first `refusals` completions with 429."""

    def __init__(self, upstream: str, refusals: int) -> None:
        super().__init__(upstream)
        self.times: list[float] = []
        self._refusals = refusals
        self.before = self._limit

    def _limit(self, sent: Sent) -> None:
        self.times.append(time.monotonic())
        if len(self.times) <= self._refusals:
            error = b'{"error": {"message": "slow down", "type": "throttling_error", "code": "429"}}'
            sent.answer = Got(429, {"content-type": "application/json"}, error)

    def waited(self, *seconds: float) -> bool:
        """Whether there were that many further attempts, each that long after the one before."""
        gaps = [after - before for before, after in itertools.pairwise(self.times)]
        return len(gaps) == len(seconds) and all(gap >= least for gap, least in zip(gaps, seconds, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_on_429_it_waits_1_and_2_seconds_and_succeeds(run: Callable, stack: Stack, name: str) -> None:
    limited = Limited(stack.url, refusals=2)
    with serving(limited) as url:
        done = run(name, "claude-sonnet-4", url=url)
    assert "claude-3-5-sonnet" in printed(name, done)
    assert limited.waited(1, 2), limited.times
    assert done.stderr.splitlines() == ["429, trying again in 1 s", "429, trying again in 2 s"]


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_up_after_1_2_and_4_seconds(run: Callable, stack: Stack, name: str) -> None:
    limited = Limited(stack.url, refusals=100)
    with serving(limited) as url:
        done = run(name, "claude-sonnet-4", url=url)
    assert done.returncode != 0
    assert limited.waited(1, 2, 4), limited.times
    assert "429" in done.stderr.splitlines()[-1]


def test_a_429_of_the_provider_is_tried_again_too(run: Callable, double: Double) -> None:
    """A model without a fallback, whose provider refuses LiteLLM's four attempts at the first request."""
    model = load_catalog().models["claude-sonnet-4"].upstream
    double.fail({"provider": "anthropic", "model": model, "kind": "status", "status": 429, "times": 4})
    done = run("chat_requests.py", "claude-sonnet-4", double.marker)
    assert model in printed("chat_requests.py", done)
    assert done.stderr.splitlines() == ["429, trying again in 1 s"]
    assert [call["status"] for call in double.calls()] == [429, 429, 429, 429, 200]


def test_no_example_prints_its_key(run: Callable) -> None:
    wrong = "sk-wrong-key-" + "of-an-example"
    for name in NAMES:
        done = run(name, key=wrong)
        assert done.returncode != 0
        assert "401" in done.stdout + done.stderr
        assert wrong not in done.stdout + done.stderr


def test_the_double_in_nodes_test_runner(stack: Stack, node_examples: Path) -> None:
    done = subprocess.run(
        [str(node_binary()), "--test", "--test-reporter=tap", "double.test.ts"],
        cwd=node_examples,
        capture_output=True,
        text=True,
        env={
            **bare_environment(),
            "LITELLM_PROXY_URL": stack.url,
            "LITELLM_MASTER_KEY": stack.master_key,
            "NO_PROXY": "127.0.0.1",
        },
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"# pass {(node_examples / 'double.test.ts').read_text(encoding='utf-8').count('test(')}\n" in done.stdout

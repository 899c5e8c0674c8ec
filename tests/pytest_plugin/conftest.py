"""Small projects with tests of their own, run by a pytest of their own against the shared stack."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import httpx
import pytest

from proxy.catalog import project_root
from proxy.stack.state import StateDir
from tests.conftest import CONFIGURED, Stack

APP = """
from openai import OpenAI

def ask(text, model="gpt-4o-mini", **settings):
    client = OpenAI(max_retries=0, default_headers={"x-litellm-num-retries": "0"})
    completion = client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **settings)
    return completion.choices[0].message.content
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def elsewhere(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.Pytester]:
    """A project with `app.py` and nothing that says where a gateway is; none is running there."""
    # With CI or BUILD_NUMBER set, pytest repeats whole messages in its summary.
    for name in (*CONFIGURED, "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(project_root()), str(pytester.path)]))
    monkeypatch.setenv("LITELLM_LOCAL_STATE", str(pytester.path / "state"))
    monkeypatch.setenv("LITELLM_LOCAL_ENV_FILE", str(pytester.path / "env"))
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyfile(app=APP)
    yield pytester
    StateDir(pytester.path / "state").stop_leftovers()


@pytest.fixture
def project(elsewhere: pytest.Pytester, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose environment names the shared stack."""
    monkeypatch.setenv("LITELLM_PROXY_URL", stack.url)
    monkeypatch.setenv("LITELLM_MASTER_KEY", stack.master_key)
    return elsewhere


@pytest.fixture
def run(project: pytest.Pytester) -> Run:
    """Runs a test file's text."""

    def run(text: str, *options: str) -> pytest.RunResult:
        project.makepyfile(test_it=text)
        return project.runpytest_subprocess("-p", "no:cacheprovider", *options)

    return run


@pytest.fixture
def control(stack: Stack) -> Iterator[httpx.Client]:
    """Control calls with the master key, which sees all scopes."""
    headers = {"Authorization": f"Bearer {stack.master_key}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30, trust_env=False) as client:
        yield client

"""The official SDKs for Node through the gateway: the same script that walks the simulator alone."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Stack
from tests.simulator.test_node_sdks import run_node_tests


def test_nodes_sdks(stack: Stack, node_examples: Path) -> None:
    run_node_tests(
        node_examples,
        CONTROL_URL=f"{stack.url}/_double",
        CONTROL_KEY=stack.master_key,
        OPENAI_BASE_URL=f"{stack.url}/v1",
        OPENAI_API_KEY=stack.master_key,
        OPENAI_MODEL="gpt-4o-mini",
        ANTHROPIC_BASE_URL=stack.url,
        ANTHROPIC_API_KEY=stack.master_key,
        ANTHROPIC_MODEL="claude-sonnet-4",
    )

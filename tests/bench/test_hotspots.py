"""Where the event loop is seen: in the part that it is in, not where it lets the one in who looks at it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from hotspots import show
from sampled import PARTS, part_of

from proxy.catalog import project_root
from tests.bench.conftest import environment, run

SITE = Path(httpx.__file__).parents[1]
LIBRARY = json.__file__

WORKING = """
import json, os, threading
from sampled import watch

def program(file, text):
    return compile(text, file, "exec")

letting_in = program("/there/site-packages/httpx/a.py", "for _ in range(3): os.stat('.')")
computing = program("/there/site-packages/litellm/router.py", "for one in range(30_000): one * one")
counts = watch(threading.get_ident())
while sum(counts.values()) < 100:
    exec(letting_in)
    exec(computing)
print(json.dumps(counts))
"""


def frame_in(*files: str | Path) -> FrameType:
    """A frame of the last file, called by the one before, and so on."""

    def call(number: int) -> Any:
        names = {"inner": lambda: call(number + 1) if number + 1 < len(files) else sys._getframe(1)}
        exec(compile("found = inner()", str(files[number]), "exec"), names)  # noqa: S102 - a frame is made no other way
        return names["found"]

    return call(0)


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ([SITE / "fastapi/routing.py", SITE / "litellm/proxy/auth/user_api_key_auth.py"], "LiteLLM: keys"),
        ([SITE / "litellm/proxy/proxy_server.py", SITE / "litellm/router.py"], "LiteLLM: router"),
        ([SITE / "litellm/proxy/proxy_server.py", SITE / "litellm/utils.py"], "LiteLLM: the rest"),
        ([SITE / "litellm/router.py", SITE / "openai/_client.py", LIBRARY], "OpenAI's SDK"),
        ([SITE / "litellm/router.py", SITE / "pydantic/main.py", LIBRARY], "LiteLLM: router"),
        ([project_root() / "proxy/gateway/app.py"], "gateway"),
        ([project_root() / "proxy/gateway/speed/auth.py", LIBRARY], "gateway: levers"),
        ([LIBRARY], "elsewhere"),
        ([SITE / "uvicorn/server.py", "/usr/lib/python3.11/asyncio/runners.py"], "idle"),
        (["/home/me/litellm/proxy/own.py"], "elsewhere"),
        (["/home/me/litellm/.venv/lib/python3.11/site-packages/prisma/client.py"], "Postgres client"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_known_and_innermost_counts(files: list[str | Path], part: str) -> None:
    assert part_of(frame_in(*files)) == part


def test_a_loop_without_a_frame_waits() -> None:
    assert part_of(None) == "idle"


def test_every_part_is_there() -> None:
    missing = [mark for mark, _ in PARTS if not any([*SITE.glob(f"{mark}*"), *project_root().glob(f"{mark}*")])]
    assert not missing


def test_who_lets_others_in_is_not_seen_more_for_it() -> None:
    command = [sys.executable, "-c", WORKING]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    # It computes nearly all of the time. Of looks that wait until they are let in, hardly one would see that.
    assert counts.get("LiteLLM: router", 0) > sum(counts.values()) / 3


def test_shares_are_of_what_is_not_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    show({"LiteLLM: router": 1, "idle": 996, "gateway": 3}, 12.3)
    assert capsys.readouterr().out.splitlines() == [
        "12 requests/s; share of the event loop's time, waiting left out",
        f"  {'gateway':<32} 75.0%",
        f"  {'LiteLLM: router':<32} 25.0%",
    ]


def test_of_a_gateway_under_load(tmp_path: Path) -> None:
    done = run("hotspots.py", "--seconds", "5", "--stream", folder=tmp_path)
    if shutil.which("wrk") is None:  # there is no load then, and it says what to do
        assert (done.returncode, done.stdout) == (1, "")
        assert "apt install wrk" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    heading, *rows = done.stdout.splitlines()
    assert int(re.match(r"(\d+) requests/s", heading)[1]) > 0
    shares = {row[2:34].rstrip(): float(row[34:].rstrip("%")) for row in rows}
    assert set(shares) <= {part for _, part in PARTS} | {"elsewhere"}
    assert "idle" not in shares
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(shares.values()) == pytest.approx(100, abs=0.05 * len(shares))

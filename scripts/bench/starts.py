"""How long starts take: of the gateway, of LiteLLM's own command, and of a whole `up`, in turns. Used by gateway.py."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from ending import started
from footprint import show_footprint
from rounds import an_up, wait_for

from proxy.stack.ports import free_port

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What follows from the first?"}]}


def time_starts(environment: Mapping[str, str], key: str, number: int) -> dict[str, list[float]]:
    """Seconds from the command to the first reply, of each in turns."""
    ours = [sys.executable, "-m", "proxy.gateway"]
    taken: dict[str, list[float]] = {"gateway": [], "LiteLLM's own": []}
    for round_ in range(number):
        print(f"\rstart {round_ + 1} of {number} ", end="", file=sys.stderr, flush=True)
        port = str(free_port())
        taken["gateway"].append(start_seconds(ours, port, {**environment, "LITELLM_LOCAL_PORT": port}, key))
        taken["LiteLLM's own"].append(theirs(environment, key))
    tell("From the command to the first reply, seconds", taken)
    return taken


def time_ups(
    folder: Path, environment: Mapping[str, str], key: str, number: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of a whole `up`, smoke checks passed, on data that is there; beside LiteLLM's own to its first reply. The
    `up` before makes the data; the other result is its memory."""
    footprint: dict[str, float] = {}
    taken: dict[str, list[float]] = {"up, proven": [], "LiteLLM's own": []}
    for round_ in range(number + 1):
        print(f"\rup {round_} of {number} ", end="", file=sys.stderr, flush=True)
        began = time.monotonic()
        with an_up(folder / "up", "--env-file", str(folder / "up.env")):
            seconds = time.monotonic() - began
            if not round_:
                footprint = show_footprint(folder / "up")
        if round_:
            taken["up, proven"].append(seconds)
            taken["LiteLLM's own"].append(theirs(environment, key))
    tell("From the command to the smoke checks passed, and to LiteLLM's first reply, seconds", taken)
    return taken, footprint


def theirs(environment: Mapping[str, str], key: str) -> float:
    port = str(free_port())
    command = [str(Path(sys.executable).with_name("litellm")), "--config", environment["CONFIG_FILE_PATH"]]
    return start_seconds([*command, "--host", "127.0.0.1", "--port", port], port, environment, key)


def tell(heading: str, taken: Mapping[str, Sequence[float]]) -> None:
    print(f"\r\033[K\n{heading}")
    for name, seconds in taken.items():
        print(f"  {name:<18}{statistics.median(seconds):>8.1f}  ({min(seconds):.1f} to {max(seconds):.1f})")


def start_seconds(command: Sequence[str], port: str, environment: Mapping[str, str], key: str) -> float:
    quiet = subprocess.DEVNULL
    began = time.monotonic()
    with started(command, env=dict(environment), stdout=quiet, stderr=quiet) as process:
        wait_for(process, lambda: replies(f"http://127.0.0.1:{port}", key))
        return time.monotonic() - began


def replies(url: str, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    try:
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=headers, timeout=30, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200

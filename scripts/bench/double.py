"""How fast the simulator is by itself: beside aimock, and beside a server that only repeats fixed bytes.

    .venv/bin/python scripts/bench/double.py [--rounds N] [--seconds N] [--connections N] [--json FILE]

All run on 127.0.0.1 and answer the same chat completion with the same text; wrk asks one after the other, in
rounds, so that a slow moment of the machine meets all. With a stack up (`litellm-local up`) and its address and key
in the environment (`eval "$(litellm-local env)"`), the gateway in front of the simulator is measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from load import NUMBER, LoadError, Round, post

from proxy.database.engine import node_binary
from proxy.stack.ports import free_port

HERE = Path(__file__).parent
TEXT = "The answer to the second question follows from the first. " * 4
QUESTION = "What follows from the first?"
OTHER = f"What follows from number {NUMBER}?"
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": QUESTION}]}
KEY = {"Authorization": "Bearer any"}
CHARACTERS_PER_CHUNK = 5  # about what a token is, the size of the simulator's chunks


def main() -> int:
    parser = argparse.ArgumentParser(description="The simulator beside aimock and a server of fixed bytes.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path, help="also write all rounds there")
    options = parser.parse_args()
    try:
        with ExitStack() as running:
            servers = start_all(running)
            measured = {
                f"{how}, {which}": measure(servers, {**BODY, **asked(text), "stream": streams}, options)
                for how, streams in (("in one piece", False), ("streaming", True))
                for which, text in (("the same request", QUESTION), ("each with a text of its own", OTHER))
            }
    except (LoadError, RuntimeError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for kind, rounds in measured.items():
        show(kind, rounds)
    if options.json:
        plain = {kind: {name: [vars(r) for r in rs] for name, rs in found.items()} for kind, found in measured.items()}
        options.json.write_text(json.dumps(plain, indent=1), encoding="utf-8")
    return 0


Servers = dict[str, tuple[str, dict[str, str]]]
"""name -> address of the chat completions, headers."""


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def start_all(running: ExitStack) -> Servers:
    folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
    simulator = running.enter_context(a_simulator(folder))
    address = f"{simulator}/openai/v1/chat/completions"
    servers: Servers = {"simulator": (address, KEY), "simulator again": (address, KEY)}
    aimock = running.enter_context(an_aimock(folder))
    servers["aimock"] = (f"{aimock}/v1/chat/completions", KEY)
    bare = running.enter_context(a_bare_server(folder, address))
    servers["fixed bytes"] = (f"{bare}/v1/chat/completions", KEY)
    if url := os.environ.get("LITELLM_PROXY_URL"):
        key = os.environ.get("LITELLM_MASTER_KEY", "")
        servers["gateway"] = (f"{url}/v1/chat/completions", {"Authorization": f"Bearer {key}"})
    return servers


@contextmanager
def a_simulator(folder: Path) -> Iterator[str]:
    script = folder / "script.yaml"
    script.write_text(json.dumps({"rules": [{"reply": {"text": TEXT}}]}), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "proxy.simulator", "--port", str(port), "--script", str(script)]
    with serving(command, port, "/healthz"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def an_aimock(folder: Path) -> Iterator[str]:
    node = node_binary()
    npm = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(
        [str(node), str(npm), "ci", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"aimock could not be installed: {done.stderr.strip()}")
    fixture = {"fixtures": [{"match": {}, "response": {"content": TEXT}}]}
    (folder / "fixture.json").write_text(json.dumps(fixture), encoding="utf-8")
    port = free_port()
    program = folder / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = [str(node), str(program), "-p", str(port), "-f", str(folder / "fixture.json")]
    with serving([*command, "-c", str(CHARACTERS_PER_CHUNK), "--log-level", "silent"], port, "/health"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def a_bare_server(folder: Path, like: str) -> Iterator[str]:
    """A server that repeats, byte for byte, what `like` answered once."""
    answers = {}
    for name, streams in (("whole", False), ("stream", True)):
        answer = httpx.post(like, json={**BODY, "stream": streams}, headers=KEY, trust_env=False)
        answers[name] = (answer.headers["content-type"], answer.text)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    port = free_port()
    command = [sys.executable, str(HERE / "bare.py"), str(port), str(folder / "answers.json")]
    with serving(command, port, "/", method="POST"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serving(command: list[str], port: int, path: str, *, method: str = "GET") -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not answers(f"http://127.0.0.1:{port}{path}", method):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} does not answer")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def answers(url: str, method: str) -> bool:
    try:
        return httpx.request(method, url, json=BODY if method == "POST" else None, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def measure(servers: Servers, body: object, options: argparse.Namespace) -> dict[str, list[Round]]:
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    for url, headers in servers.values():  # once, unmeasured: caches and connections
        post(url, body, headers, connections=options.connections, seconds=1)
    for number in range(options.rounds):
        print(f"\rround {number + 1} of {options.rounds} ", end="", file=sys.stderr, flush=True)
        for name, (url, headers) in servers.items():
            rounds[name].append(post(url, body, headers, connections=options.connections, seconds=options.seconds))
    print("\r\033[K", end="", file=sys.stderr)
    return rounds


def show(kind: str, rounds: dict[str, list[Round]]) -> None:
    def median(name: str, of: Callable[[Round], float]) -> float:
        return statistics.median(of(one) for one in rounds[name])

    print(f"\n{kind}: requests/s (lowest to highest), p50 and p99 in ms, simulator's requests/s as a multiple")
    for name, found in rounds.items():
        speeds = sorted(one.per_second for one in found)
        ratios = [mine.per_second / one.per_second for mine, one in zip(rounds["simulator"], found, strict=True)]
        print(
            f"  {name:<16} {median(name, lambda r: r.per_second):8.0f} ({speeds[0]:.0f} to {speeds[-1]:.0f})"
            f"  {median(name, lambda r: r.p50):7.2f} {median(name, lambda r: r.p99):7.2f}"
            f"  {statistics.median(ratios):6.2f} x"
        )


if __name__ == "__main__":
    sys.exit(main())

"""How fast the simulator is by itself: beside aimock, and beside a server that only repeats fixed bytes.

    .venv/bin/python scripts/bench/double.py [--rounds N] [--seconds N] [--connections N] [--json FILE]

All run on 127.0.0.1 and answer the same chat completion with the same text; wrk asks one after the other, in
rounds, so that a slow moment of the machine meets all. With a stack up (`litellm-local up`) and its address and key
in the environment (`eval "$(litellm-local env)"`), the gateway in front of the simulator is measured too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from ending import in_order
from landmarks import install
from load import NUMBER, need_wrk
from rounds import Server, measure, options, plain, serving, show

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
    parser = options("The simulator beside aimock and a server of fixed bytes.", rounds=5, seconds=4)
    parser.add_argument("--connections", type=int, default=16)
    given = parser.parse_args()
    need_wrk()
    with ExitStack() as running:
        servers = start_all(running)
        measured = {
            f"{how}, {which}": measure(
                servers,
                {**BODY, **asked(text), "stream": streams},
                rounds=given.rounds,
                seconds=given.seconds,
                at=given.connections,
            )
            for how, streams in (("in one piece", False), ("streaming", True))
            for which, text in (("the same request", QUESTION), ("each with a text of its own", OTHER))
        }
    for kind, rounds in measured.items():
        show(kind, rounds)
    if given.json:
        given.json.write_text(json.dumps({kind: plain(found) for kind, found in measured.items()}, indent=1))
    return 0


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def start_all(running: ExitStack) -> dict[str, Server]:
    folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
    url, pid = running.enter_context(a_simulator(folder))
    simulator = Server(f"{url}/openai/v1/chat/completions", KEY, pids=[pid])
    servers = {"simulator": simulator, "simulator again": simulator}
    url, pid = running.enter_context(an_aimock(folder))
    servers["aimock"] = Server(f"{url}/v1/chat/completions", KEY, pids=[pid])
    url, pid = running.enter_context(a_bare_server(folder, simulator.url))
    servers["fixed bytes"] = Server(f"{url}/v1/chat/completions", KEY, pids=[pid])
    if gateway := os.environ.get("LITELLM_PROXY_URL"):
        key = os.environ.get("LITELLM_MASTER_KEY", "")
        servers["gateway"] = Server(f"{gateway}/v1/chat/completions", {"Authorization": f"Bearer {key}"})
    return servers


@contextmanager
def a_simulator(folder: Path) -> Iterator[tuple[str, int]]:
    script = folder / "script.yaml"
    script.write_text(json.dumps({"rules": [{"reply": {"text": TEXT}}]}), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "proxy.simulator", "--port", str(port), "--script", str(script)]
    with serving(command, f"http://127.0.0.1:{port}/healthz") as process:
        yield f"http://127.0.0.1:{port}", process.pid


@contextmanager
def an_aimock(folder: Path) -> Iterator[tuple[str, int]]:
    install(folder)
    node = node_binary()
    fixture = {"fixtures": [{"match": {}, "response": {"content": TEXT}}]}
    (folder / "fixture.json").write_text(json.dumps(fixture), encoding="utf-8")
    port = free_port()
    program = folder / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = [str(node), str(program), "-p", str(port), "-f", str(folder / "fixture.json")]
    command += ["-c", str(CHARACTERS_PER_CHUNK), "--log-level", "silent"]
    with serving(command, f"http://127.0.0.1:{port}/health") as process:
        yield f"http://127.0.0.1:{port}", process.pid


@contextmanager
def a_bare_server(folder: Path, like: str) -> Iterator[tuple[str, int]]:
    """A server that repeats, byte for byte, what `like` answered once."""
    answers = {}
    for name, streams in (("whole", False), ("stream", True)):
        answer = httpx.post(like, json={**BODY, "stream": streams}, headers=KEY, trust_env=False)
        answers[name] = (answer.headers["content-type"], answer.text)
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
    port = free_port()
    command = [sys.executable, str(HERE / "bare.py"), str(port), str(folder / "answers.json")]
    with serving(command, f"http://127.0.0.1:{port}/", method="POST") as process:
        yield f"http://127.0.0.1:{port}", process.pid


if __name__ == "__main__":
    sys.exit(in_order(main))

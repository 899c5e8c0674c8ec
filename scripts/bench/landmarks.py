"""What else stands between a client and the simulator, for comparison: a bare reverse proxy, Portkey's gateway.

Neither has virtual keys, limits, spend or metrics here: they show what forwarding alone costs. Portkey 1.15.2 breaks
streams, so it is measured in one piece only. Used by gateway.py and double.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rounds import Server, serving

from proxy.database.engine import node_binary
from proxy.stack.ports import free_port

HERE = Path(__file__).parent
KEY = {"Authorization": "Bearer any"}


def install(folder: Path) -> None:
    """The npm packages that the lock file names, by their hashes, into `folder`. Raises RuntimeError."""
    npm = node_binary().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, folder)
    command = [str(node_binary()), str(npm), "ci", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the packages in {HERE / 'package.json'} could not be installed: {done.stderr.strip()}")


@contextmanager
def bare_proxy(simulator: str) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, str(HERE / "passing.py"), str(port), f"{simulator}/openai"]
    with serving(command, f"http://127.0.0.1:{port}/") as process:
        yield Server(f"http://127.0.0.1:{port}/v1/chat/completions", KEY, pids=[process.pid])


@contextmanager
def portkey(folder: Path, simulator: str) -> Iterator[Server | None]:
    """Portkey's gateway, installed into `folder`, with the simulator as its OpenAI; None, told, where that fails."""
    try:
        install(folder)
    except RuntimeError as error:
        print(f"Portkey is left out: {error}", file=sys.stderr)
        yield None
        return
    port = free_port()
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    environment = {**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    command = [str(node_binary()), str(program), f"--port={port}", "--headless"]
    headers = {**KEY, "x-portkey-provider": "openai", "x-portkey-custom-host": f"{simulator}/openai/v1"}
    with serving(command, f"http://127.0.0.1:{port}/", env=environment) as process:
        yield Server(f"http://127.0.0.1:{port}/v1/chat/completions", headers, pids=[process.pid])

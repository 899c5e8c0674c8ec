"""Where the gateway's event loop spends its time for a request: what stands between it and more of them.

    .venv/bin/python scripts/bench/hotspots.py [--seconds N] [--stream]

Brings a stack of its own up, and a second gateway beside it that is looked at each 5 ms while wrk asks it, 16 at once.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ending import in_order
from gateway import a_stack
from load import need_wrk, post, warm_up
from rounds import serving
from starts import BODY

from proxy.stack.ports import free_port

HERE = Path(__file__).parent
CONNECTIONS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description="Where the gateway's time goes.")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--stream", action="store_true")
    given = parser.parse_args()
    need_wrk()
    with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
        samples, port = Path(folder, "samples.json"), free_port()
        url, environment = f"http://127.0.0.1:{port}", {**stack.environment, "LITELLM_LOCAL_PORT": str(port)}
        command = [sys.executable, str(HERE / "sampled.py"), str(samples)]
        headers, body = {"Authorization": f"Bearer {stack.key}"}, {**BODY, "stream": given.stream}
        chat = f"{url}/v1/chat/completions"
        with serving(command, f"{url}/health/readiness", env=environment) as process:
            warm_up(chat, body, headers, connections=CONNECTIONS)
            told(process, samples)  # what was before is not looked at
            found = post(chat, body, headers, connections=CONNECTIONS, seconds=given.seconds)
            counts = told(process, samples)
    show(counts, found.per_second)
    return 0


def told(process: subprocess.Popen[bytes], samples: Path) -> dict[str, int]:
    """The samples since it was asked last."""
    samples.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR2)
    while not samples.exists():
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {process.returncode}")
        time.sleep(0.02)
    found: dict[str, int] = json.loads(samples.read_text(encoding="utf-8"))
    return found


def show(counts: dict[str, int], per_second: float) -> None:
    busy = {part: number for part, number in counts.items() if part != "idle"}
    print(f"{per_second:.0f} requests/s; share of the event loop's time, waiting left out")
    for part, number in sorted(busy.items(), key=lambda one: -one[1]):
        print(f"  {part:<32}{number / sum(busy.values()):>6.1%}")


if __name__ == "__main__":
    sys.exit(in_order(main))

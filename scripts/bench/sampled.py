"""The gateway, and where its event loop was each 5 ms while it served. Run by hotspots.py.

`python sampled.py FILE`: at a SIGUSR2 FILE gets JSON, part -> number of samples since the one before; `idle` is waiting
for work.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from proxy.catalog import project_root

EVERY_SECONDS = 0.005
SWITCH_SECONDS = 0.0002
"""How soon the loop has to let the one look that looks at it. By default it may go on for 5 ms, and would be seen
mostly where it lets others in by itself: at its calls of the system."""
ROOT = f"{project_root()}/"
PARTS = (  # the first that a frame's place begins with, the innermost frame first
    ("litellm/proxy/auth", "LiteLLM: keys"),
    ("litellm/proxy/hooks", "LiteLLM: limits"),
    ("litellm/proxy/db", "LiteLLM: spend"),
    ("litellm/proxy/spend_tracking", "LiteLLM: spend"),
    ("litellm/proxy/utils", "LiteLLM: spend"),
    ("litellm/proxy", "LiteLLM: its routes"),
    ("litellm/router", "LiteLLM: router"),
    ("litellm/integrations/prometheus", "LiteLLM: metrics"),
    ("litellm/litellm_core_utils/litellm_logging", "LiteLLM: logging of a request"),
    ("litellm/cost_calculator", "LiteLLM: cost"),
    ("litellm/litellm_core_utils/llm_cost_calc", "LiteLLM: cost"),
    ("litellm/llms", "LiteLLM: providers"),
    ("litellm/litellm_core_utils/streaming_handler", "LiteLLM: streams"),
    ("litellm/caching", "LiteLLM: caches"),
    ("litellm/", "LiteLLM: the rest"),
    ("openai/", "OpenAI's SDK"),
    ("httpx/", "HTTP to the provider"),
    ("httpcore/", "HTTP to the provider"),
    ("aiohttp/", "HTTP to the provider"),
    ("prisma/", "Postgres client"),
    ("prometheus_client/", "LiteLLM: metrics"),
    ("fastapi/", "FastAPI, Starlette, uvicorn"),
    ("starlette/", "FastAPI, Starlette, uvicorn"),
    ("uvicorn/", "FastAPI, Starlette, uvicorn"),
    ("proxy/gateway/speed/", "gateway: levers"),
    ("proxy/gateway/", "gateway"),
)


def main() -> int:
    target, counts = Path(sys.argv[1]), watch(threading.get_ident())

    def tell(*_: object) -> None:
        whole = target.with_suffix(".new")
        whole.write_text(json.dumps(counts), encoding="utf-8")
        whole.replace(target)
        counts.clear()

    signal.signal(signal.SIGUSR2, tell)
    from proxy.gateway.__main__ import main as serve

    return serve()


def watch(thread: int) -> Counter[str]:
    """Begins to count in which part that thread is."""
    counts: Counter[str] = Counter()

    def look() -> None:
        while True:
            time.sleep(EVERY_SECONDS)
            counts[part_of(sys._current_frames().get(thread))] += 1

    sys.setswitchinterval(SWITCH_SECONDS)
    threading.Thread(target=look, daemon=True).start()
    return counts


def part_of(frame: FrameType | None) -> str:
    """The part that its innermost known frame is of: what the standard library does counts for who asked it."""
    if frame is None or frame.f_code.co_filename.endswith("asyncio/runners.py"):  # the loop itself, in C
        return "idle"
    at: FrameType | None = frame
    while at is not None:
        place = place_of(at.f_code.co_filename)
        for mark, part in PARTS:
            if place.startswith(mark):
                return part
        at = at.f_back
    return "elsewhere"


def place_of(file: str) -> str:
    """Where it is among the packages, or in this project; the folders above may have any name, as litellm."""
    return file.rpartition("/site-packages/")[2].removeprefix(ROOT)


if __name__ == "__main__":
    sys.exit(main())

"""One load against one server: wrk, and what it measured. Used by the benchmarks of this folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NUMBER = "<number>"
"""In a body: another number in each request."""

WARM_UP_SECONDS = 3
PATIENCE_SECONDS = 24
"""How long a first answer is waited for."""

SCRIPT = """
wrk.method = "POST"
wrk.body = %s
for name, value in pairs(%s) do wrk.headers[name] = value end
local before, after = wrk.body:match("^(.-)<number>(.*)$")
if before then
    local number = 0
    request = function()
        number = number + 1
        return wrk.format(nil, nil, nil, before .. number .. after)
    end
end
function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT %%d %%d %%d %%f %%f\\n", summary.requests, summary.duration,
        e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


class LoadError(Exception):
    """The load could not be made, or the server did not answer it well; the message says which."""


class NoAnswerError(LoadError):
    """No request ended within the time."""


@dataclass(frozen=True)
class Round:
    """How many requests, how many per second, and the median and 99th percentile of latency in milliseconds."""

    requests: int
    per_second: float
    p50: float
    p99: float


def need_wrk() -> None:
    """Raises LoadError where it is missing: to be told before anything is started."""
    if shutil.which("wrk") is None:
        raise LoadError("wrk, the load client, is not on PATH: apt install wrk, or brew install wrk")


def post(url: str, body: object, headers: Mapping[str, str], *, connections: int, seconds: int) -> Round:
    """Posts `body` as JSON as fast as answers come; for the first NUMBER in it, a number is counted up.

    Raises LoadError; any answer but 2xx is an error.
    """
    need_wrk()
    sent = {"content-type": "application/json", **headers}
    table = "{" + ", ".join(f"[{_lua(name)}] = {_lua(value)}" for name, value in sent.items()) + "}"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "post.lua")
        script.write_text(SCRIPT % (_lua(json.dumps(body)), table), encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise LoadError(f"wrk against {url}: {(done.stderr or done.stdout).strip()}")
    requests, microseconds, errors, p50, p99 = (float(value) for value in found.groups())
    if errors:
        raise LoadError(f"{url}: {errors:.0f} of {requests:.0f} requests failed")
    if not requests:
        raise NoAnswerError(f"{url}: none of {connections} requests was answered in {seconds} s; try more --seconds")
    return Round(int(requests), requests / microseconds * 1e6, p50 / 1000, p99 / 1000)


def warm_up(url: str, body: object, headers: Mapping[str, str], *, connections: int) -> None:
    """Posts, unmeasured, for WARM_UP_SECONDS; on a slow machine for longer, until there are answers.

    Raises LoadError, also where there is none in PATIENCE_SECONDS.
    """
    seconds = WARM_UP_SECONDS
    while True:
        try:
            post(url, body, headers, connections=connections, seconds=seconds)
        except NoAnswerError:
            seconds *= 2
            if seconds > PATIENCE_SECONDS:
                raise
        else:
            return


def _lua(text: str) -> str:
    """A Lua string of any text: every byte but plain ASCII by its number."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else f"\\{b:03d}" for b in text.encode()) + '"'

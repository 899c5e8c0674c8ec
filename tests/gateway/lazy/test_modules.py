"""Modules that LiteLLM's import would bring along are there when they are asked for, not before."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import json, sys
from proxy.gateway.lazy import modules, prisma
prisma.install()
modules.install()
import httpx
import litellm.proxy.proxy_server
import soundfile
before = [name for name in ("numpy", "rich", "pygments") if name in sys.modules]
wave = soundfile.SoundFile.__name__
modules.install()
print(json.dumps([before, wave, "numpy" in sys.modules, callable(httpx.main)]))
"""


def test_modules_are_loaded_only_when_they_are_used(stack):  # the stack has generated prisma's client
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    before, wave, numpy, command = json.loads(done.stdout.splitlines()[-1])
    assert before == []
    assert wave == "SoundFile"
    assert numpy
    assert command

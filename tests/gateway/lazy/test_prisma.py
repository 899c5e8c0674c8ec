"""The stand-in for prisma's 10 MB of types: not loaded by LiteLLM's start, the real thing when asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import json, sys
from proxy.gateway.lazy.prisma import install
installed = install()
import litellm.proxy.proxy_server
from prisma import Prisma, types
Prisma()
loaded_by_litellm = "LiteLLM_SpendLogsWhereInput" in vars(types)
from prisma.types import LiteLLM_SpendLogsWhereInput
print(json.dumps([installed, loaded_by_litellm, "request_id" in LiteLLM_SpendLogsWhereInput.__annotations__,
    "url" in types.DatasourceOverride.__annotations__, hasattr(types, "NoSuchType"), install()]))
"""


def test_types_are_loaded_only_when_they_are_asked_for(stack):  # the stack has generated the client
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    installed, loaded_by_litellm, real, complete, unknown, again = json.loads(done.stdout.splitlines()[-1])
    assert installed
    assert not loaded_by_litellm
    assert real
    assert complete
    assert not unknown
    assert not again

"""A gateway that is told to stop writes the spend of what it has just answered."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.conftest import Stack, free_port
from tests.gateway.processes import running

PROGRAM = """
import asyncio, sys
from proxy.gateway import mends
from proxy.gateway.__main__ import main

mend = mends.mend

def mend_and_log_slowly():
    from litellm.litellm_core_utils.litellm_logging import Logging
    log = Logging.async_success_handler

    async def log_slowly(self, *args, **named):
        await asyncio.sleep(1)
        await log(self, *args, **named)

    Logging.async_success_handler = log_slowly
    mend()

mends.mend = mend_and_log_slowly
sys.exit(main())
"""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_still_being_logged_is_written(stack: Stack, tmp_path: Path, stream: bool) -> None:
    environment = psutil.Process(stack.pid("gateway")).environ() | {"LITELLM_LOCAL_PORT": str(free_port())}
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    with (
        running(environment, tmp_path, ["-c", PROGRAM]) as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        master = {"Authorization": f"Bearer {stack.master_key}"}
        key = client.post("/key/generate", json={}, headers=master).raise_for_status().json()["key"]
        own = {"Authorization": f"Bearer {key}"}
        client.post("/v1/chat/completions", json=body, headers=own).raise_for_status()
    with psycopg.connect(stack.database_url) as connection:
        name = sha256(key.encode()).hexdigest()
        rows = connection.execute('SELECT spend FROM "LiteLLM_SpendLogs" WHERE api_key = %s', [name]).fetchall()
    assert [spend > 0 for (spend,) in rows] == [True]

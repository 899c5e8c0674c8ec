"""A bare reverse proxy: what comes in goes on, what comes back goes out, nothing is looked at. Run by landmarks.py.

`python passing.py PORT UPSTREAM`: the path asked for is added to UPSTREAM.
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn

DROPPED = {b"host", b"content-length", b"transfer-encoding", b"connection"}


def main() -> None:
    upstream = sys.argv[2]
    held: list[aiohttp.ClientSession] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not held:
            held.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"] if k not in DROPPED]
        async with held[0].request(scope["method"], upstream + scope["path"], data=body, headers=headers) as answer:
            kept = [(k, v) for k, v in answer.raw_headers if k.lower() not in DROPPED]
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", lifespan="off", log_level="critical", access_log=False)


if __name__ == "__main__":
    main()

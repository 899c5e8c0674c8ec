"""The bound of what can be had: uvicorn answering every request with the same bytes. Run by double.py.

`python bare.py PORT FILE`: FILE holds JSON, {"whole": [content type, text], "stream": [...]}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn


def main() -> None:
    answers = {
        name: (kind.encode(), text.encode())
        for name, (kind, text) in json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")).items()
    }

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message.get("more_body"):
                break
        kind, answer = answers["stream" if b'"stream": true' in body else "whole"]
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", lifespan="off", log_level="critical", access_log=False)


if __name__ == "__main__":
    main()

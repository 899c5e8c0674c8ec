"""`python -m proxy.simulator.cassettes FILE [--port N] [--base NAME=URL …]`: the recorder; started by the launcher.

The first line on stdout is JSON, `{"port": N}`, printed when requests are answered. It listens on this machine only:
whoever can reach it reaches the providers, with keys of their own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from proxy.simulator.cassettes.load import CassetteError
from proxy.simulator.cassettes.recorder import REAL_BASES, Recorder
from proxy.simulator.cassettes.tape import Tape, TapeError
from proxy.simulator.server import listen, serve

WRONG = 2  # exit code where starting again can't help


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m proxy.simulator.cassettes", description="Passes requests on to the providers and records them."
    )
    parser.add_argument("file", type=Path, help="the cassette; what is in it stays")
    parser.add_argument("--port", default=0, type=int, help="port to listen on, 0 for any free one (default)")
    parser.add_argument(
        "--base", action="append", default=[], type=_base, metavar="NAME=URL", help="where a provider is reached"
    )
    options = parser.parse_args()
    try:
        tape = Tape(options.file)
    except (CassetteError, TapeError) as error:
        return _fail(str(error))
    try:
        sock = listen("127.0.0.1", options.port)
    except (OSError, OverflowError) as error:
        tape.close()
        return _fail(f"cannot listen on port {options.port}: {error}")
    port = sock.getsockname()[1]
    recorder = Recorder(tape, dict(options.base))
    try:
        serve(recorder, sock, when_ready=lambda: print(json.dumps({"port": port}), flush=True))
    finally:
        recorder.close()
    return 0


def _base(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if name not in REAL_BASES or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(REAL_BASES)} with =http(s)://...")
    return name, url.rstrip("/")


def _fail(message: str) -> int:
    print(f"proxy.simulator.cassettes: {message}", file=sys.stderr)
    return WRONG


if __name__ == "__main__":
    sys.exit(main())

"""`python -m proxy.simulator [--host H] [--port N] [--script FILE] [--cassette FILE]`: serves the simulator; started by
the launcher.

The first line on stdout is JSON, `{"port": N}`, printed when requests are answered. Control calls want the key in
LITELLM_LOCAL_CONTROL_KEY; without one they are open, which is refused on any address but loopback. With --script and
--cassette, the scope `default` begins with the rules and the cassette of these files. LITELLM_LOCAL_ALIASES holds the
gateway's names for models.
"""

from __future__ import annotations

import argparse
import gc
import ipaddress
import json
import os
import sys
from pathlib import Path

from proxy.simulator import aliases
from proxy.simulator.aliases import AliasError, read_aliases
from proxy.simulator.app import Simulator
from proxy.simulator.cassettes.load import CassetteError, read_file
from proxy.simulator.cassettes.replay import Player, Tracks
from proxy.simulator.replies import tokens
from proxy.simulator.script.load import ScriptError, load_script
from proxy.simulator.server import listen, serve

KEY_VARIABLE = "LITELLM_LOCAL_CONTROL_KEY"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m proxy.simulator", description="The providers' double.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", default=0, type=_port, help="port to listen on, 0 for any free one (default)")
    parser.add_argument("--script", type=Path, help="rules (YAML or JSON) of the scope 'default'")
    parser.add_argument("--cassette", type=Path, help="what the scope 'default' answers from where no rule does")
    options = parser.parse_args()
    key = os.environ.get(KEY_VARIABLE) or None
    if key is None and not _is_loopback(options.host):
        return _fail(f"{KEY_VARIABLE} must be set to listen on {options.host}: control calls would be open to others")
    try:
        tokens.encoding()
    except tokens.VocabularyMissing as error:
        return _fail(str(error))
    try:
        simulator = Simulator(key, read_aliases(os.environ.get(aliases.VARIABLE)))
        if options.script is not None:
            simulator.scopes.default.book.replace(load_script(options.script))
        if options.cassette is not None:
            simulator.scopes.default.cassette = Player(Tracks(read_file(options.cassette)), file=str(options.cassette))
    except (AliasError, ScriptError, CassetteError) as error:
        return _fail(str(error))
    try:
        sock = listen(options.host, options.port)
    except OSError as error:
        hint = "; name another port with --port, or 0 for any free one"
        return _fail(f"cannot listen on {options.host} port {options.port}: {error.strerror}{hint}")
    port = sock.getsockname()[1]
    gc.freeze()
    serve(simulator, sock, when_ready=lambda: print(json.dumps({"port": port}), flush=True))
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is no port: 0 to 65535")
    return port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _fail(message: str) -> int:
    print(f"proxy.simulator: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

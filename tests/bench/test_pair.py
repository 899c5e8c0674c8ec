"""Two gateways that share a Valkey, beside one: started, asked, stopped. How much they answer is not judged here."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
from pathlib import Path

import psutil
import pytest
import rounds
import yaml
from pair import NONE, listening, measure_pair
from quota import NO_GROUPS, cpu_groups
from rounds import Server

from tests.bench.conftest import run
from tests.conftest import free_port

VALKEY = shutil.which("valkey-server") or shutil.which("redis-server")

LATE = """
import socket, sys, time
from pathlib import Path

while not Path(sys.argv[2]).exists():
    time.sleep(0.05)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    while True:
        server.accept()
"""

PAIR = """
import json, sys, tempfile
from pathlib import Path
from gateway import a_stack
from pair import measure_pair
from rounds import Server, family
from starts import BODY

with tempfile.TemporaryDirectory() as folder, a_stack(Path(folder)) as stack:
    headers = {"Authorization": f"Bearer {stack.key}"}
    one = Server(f"{stack.url}/v1/chat/completions", headers, pids=family(stack.pid))
    found = measure_pair(stack.environment, one, BODY, Path(folder), rounds=1, seconds=5)
    settings, config = Path(folder, "valkey.conf"), Path(folder, "with-valkey.yaml")
    texts = [settings.read_text(), config.read_text()]
    Path(sys.argv[1]).write_text(json.dumps([found, settings.stat().st_mode, *texts]))
"""


@pytest.mark.timeout(600)
def test_two_gateways_by_one(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PAIR, encoding="utf-8")
    (tmp_path / "work").mkdir()
    done = run(tmp_path / "program.py", str(tmp_path / "found.json"), folder=tmp_path / "work", seconds=500)
    if VALKEY is None:  # the row is left out, and it says why
        assert NONE in done.stdout
        return
    if shutil.which("wrk") is None:
        assert "apt install wrk" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    found, mode, settings, config = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    names = [f"{name}{how}" for how in ("", ", sharing nothing") for name in ("requests/s", "CPU of a request")]
    limits = ("", ", each held to half a core") if cpu_groups() else ("",)
    assert list(found) == [f"{name}{limit}" for limit in limits for name in names]
    assert all(len(ratios) == 1 and ratios[0] > 0 for ratios in found.values())
    heading, *rows = done.stdout.strip().splitlines()
    assert heading == f"Two gateways with {Path(str(VALKEY)).name} by one without, 16 connections in all"
    if not cpu_groups():
        assert NO_GROUPS in rows.pop()
    assert [row.split(" x ")[0] for row in rows] == [f"  {name:<60}{ratio:.2f}" for name, (ratio,) in found.items()]
    assert mode & 0o077 == 0
    password = dict(line.split(" ", 1) for line in settings.splitlines())["requirepass"]
    assert password not in config
    assert yaml.safe_load(config)["general_settings"]["coordination_redis"]["password"] == "os.environ/VALKEY_PASSWORD"


def test_without_valkey_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert measure_pair({}, Server("http://127.0.0.1:9", {}), {}, tmp_path, rounds=1, seconds=1) == {}
    assert NONE in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_it_waits_for_a_server_that_listens_late_and_stops_it(tmp_path: Path) -> None:
    port, may_listen = free_port(), tmp_path / "may listen"
    threading.Timer(0.3, may_listen.touch).start()
    with listening([sys.executable, "-c", LATE, str(port), str(may_listen)], port):
        assert may_listen.exists()
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        (server,) = [one for one in psutil.Process().children() if str(port) in one.cmdline()]
    assert not server.is_running()


def test_a_server_that_ends_is_told() -> None:
    with (
        pytest.raises(RuntimeError, match="ended with 3"),
        listening([sys.executable, "-c", "raise SystemExit(3)"], free_port()),
    ):
        pass


def test_a_server_that_never_listens_is_told_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "START_SECONDS", 0.3)
    port = str(free_port())
    with (
        pytest.raises(RuntimeError, match="does not answer"),
        listening([sys.executable, "-c", "import time; time.sleep(600)", port], int(port)),
    ):
        pass
    assert not [one for one in psutil.Process().children() if port in one.cmdline()]

"""scripts/bench/soak.py, for some seconds: nothing fails that is not scripted, and all spend is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from proxy.catalog import project_root
from tests.conftest import START_SECONDS, bare_environment

SECONDS = 20


def test_no_reply_is_lost_and_no_cent(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/bench/soak.py", "--minutes", str(SECONDS / 60), "--json"]
    done = subprocess.run(
        [*command, str(tmp_path / "soak.json")],
        cwd=project_root(), env=bare_environment(), capture_output=True, text=True, timeout=START_SECONDS + 120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "soak.json").read_text(encoding="utf-8"))
    assert found["unscripted_failures"] == 0
    assert {"faulty", "plain", "streaming"} <= set(found["requests"])
    assert found["spend"]["rows"] == found["replies"] > 100
    assert abs(Decimal(found["spend"]["log"]) - Decimal(found["cost"])) < Decimal("0.005")
    assert set(found["memory"]) == {"gateway", "engine"}

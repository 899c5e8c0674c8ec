"""The bridge's own tests and its type check, by Node's runner and TypeScript.

The tests run in place. Types are checked in a copy, so that the development tools never get into the folder that a
gateway may be running from.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from proxy.database.engine import BRIDGE, engine_environment


def run(home: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **engine_environment(home, ""), "NODE_USE_SYSTEM_CA": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_node_tests(engine_home: Path) -> None:
    tests = sorted(str(path.relative_to(BRIDGE)) for path in BRIDGE.glob("test/*.test.js"))
    output = run(engine_home, BRIDGE, str(engine_home / "bin" / "node"), "--test", "--test-reporter=tap", *tests).stdout
    assert "# fail 0" in output
    assert "# skipped 0" in output


def test_types(engine_home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bridge"
    shutil.copytree(BRIDGE, copy, ignore=shutil.ignore_patterns("node_modules", ".install", ".litellm-local-lock"))
    run(engine_home, copy, str(engine_home / "bin" / "npm"), "ci", "--prefer-offline")
    run(engine_home, copy, str(engine_home / "bin" / "node"), "node_modules/typescript/bin/tsc")
    assert not (BRIDGE / "node_modules" / "typescript").exists()


def test_lock_files_name_no_registry() -> None:
    for lock in BRIDGE.glob("**/package-lock.json"):
        if "node_modules" not in lock.parts:
            assert "resolved" not in lock.read_text()
            assert '"integrity": "sha512-' in lock.read_text()

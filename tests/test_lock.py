"""requirements.lock names everything that is installed, so that pip has nothing to resolve (scripts/setup.py)."""

from __future__ import annotations

import re
import subprocess
import sys

from proxy.catalog import project_root

LOCK = (project_root() / "requirements.lock").read_text(encoding="utf-8")


def test_what_is_installed_lacks_nothing() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_package_is_pinned_with_hashes_and_no_address() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in LOCK
    assert "index-url" not in LOCK

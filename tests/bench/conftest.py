"""The benchmarks are programs, not a package: their folder is put where their tests can import from it."""

from __future__ import annotations

import sys

from proxy.catalog import project_root

BENCH = project_root() / "scripts" / "bench"
sys.path.append(str(BENCH))

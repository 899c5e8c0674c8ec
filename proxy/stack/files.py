"""Writes rendered files for containers into the state folder. Called by `config render compose` and the launcher."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

SECRETS = "secrets"


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Writes each file (path in `root` -> content); a folder that is written to holds nothing else afterwards.

    `root/secrets` can be entered by its owner alone; all below is readable by whatever user a container has. A file
    is replaced where it lies, so that a container that has it mounted sees the new one. Raises OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    secrets = root / SECRETS
    secrets.mkdir(mode=0o700, exist_ok=True)
    secrets.chmod(0o700)
    for folder in {(root / name).parent for name in files if "/" in name}:
        folder.mkdir(parents=True, exist_ok=True)
        if folder != secrets:
            folder.chmod(0o755)  # whatever the umask
        wanted = {Path(name).name for name in files if (root / name).parent == folder}
        for stale in [entry for entry in folder.iterdir() if entry.name not in wanted]:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    for name, content in files.items():
        _write(root / name, content)


def _write(path: Path, content: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(content, encoding="utf-8")
    partial.chmod(0o444)
    partial.replace(path)

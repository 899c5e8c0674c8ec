"""requirements.lock names everything that is installed, so that pip has nothing to resolve (scripts/setup.py)."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

from proxy.catalog import project_root

LOCK = (project_root() / "requirements.lock").read_text(encoding="utf-8")


def required(name: str, extras: set[str]) -> list[Requirement]:
    """What a package needs here, with these of its extras."""
    found = [Requirement(line) for line in distribution(name).requires or ()]
    wanted = [{"extra": extra} for extra in ("", *extras)]
    return [one for one in found if one.marker is None or any(one.marker.evaluate(where) for where in wanted)]


def test_what_is_installed_lacks_nothing() -> None:
    """`pip check` passes over what an extra needs."""
    lacking, seen, due = set(), set(), [("litellm-local", {"test"})]
    while due:
        name, extras = due.pop()
        for one in required(name, extras):
            step = (one.name.lower(), frozenset(one.extras))
            try:
                version = distribution(one.name).version
            except PackageNotFoundError:
                lacking.add(f"{name} needs {one}, which is not installed")
                continue
            if not one.specifier.contains(version, prereleases=True):
                lacking.add(f"{name} needs {one}, but {version} is installed")
            if step not in seen:
                seen.add(step)
                due.append((one.name, set(one.extras)))
    assert not lacking
    assert len({name for name, _ in seen}) > 100


def test_every_package_is_pinned_with_hashes_and_no_address() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert "://" not in LOCK
    assert "index-url" not in LOCK

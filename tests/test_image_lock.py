"""What the image installs is requirements.lock less what no gateway in a container needs (scripts/image_lock.py)."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from proxy.catalog import project_root

LOCK = (project_root() / "requirements.lock").read_text(encoding="utf-8")
# Debian 12 has 3.11.2, for which some packages still need a backport.
PYTHONS = ("3.10.0", "3.11.2", "3.11.9", "3.12.0", "3.13.0")


@pytest.fixture
def image_lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_lock", project_root() / "scripts" / "image_lock.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(lock: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.M)}


def needed(without: frozenset[str] = frozenset()) -> set[str]:
    """Every package the project needs on any of the Pythons, but for these and what they alone need."""
    found: set[str] = set()
    due, seen = [("litellm-local", frozenset[str]())], set()
    while due:
        step = due.pop()
        if step in seen:
            continue
        seen.add(step)
        try:
            lines = distribution(step[0]).requires or ()
        except PackageNotFoundError:
            continue  # for a Python that is not this one; it needs nothing that no other does
        for one in map(Requirement, lines):
            name = canonicalize_name(one.name)
            wanted = [
                {"extra": extra, "python_full_version": version, "python_version": version.rpartition(".")[0]}
                for version in PYTHONS
                for extra in ("", *step[1])
            ]
            if name not in without and (one.marker is None or any(map(one.marker.evaluate, wanted))):
                found.add(name)
                due.append((name, frozenset(one.extras)))
    return found


def test_packages_for_tests_are_those_that_nothing_else_needs(image_lock: ModuleType) -> None:
    assert names(LOCK) - needed() == image_lock.FOR_TESTS


def test_nothing_the_image_needs_is_left_out(image_lock: ModuleType) -> None:
    left_out = image_lock.FOR_TESTS | image_lock.FOR_OTHER_WAYS
    assert left_out <= names(LOCK), "no longer in the lock"
    image = names(image_lock.subset(LOCK, left_out))
    assert image == names(LOCK) - left_out
    # What only those other ways need may stay; what the rest needs must.
    lacking = needed(image_lock.FOR_OTHER_WAYS) - image
    assert not lacking


def test_each_entry_keeps_its_hashes(image_lock: ModuleType) -> None:
    image = image_lock.subset(LOCK, image_lock.FOR_TESTS)
    for entry in re.split(r"\n(?=\S)", image.strip()):
        assert entry in LOCK
        assert "--hash=sha256:" in entry

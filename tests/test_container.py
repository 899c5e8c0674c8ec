"""The image's entry point: secrets come as files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.catalog import project_root
from proxy.container import bound_pool, read_secrets


def test_each_file_is_a_variable(tmp_path: Path) -> None:
    (tmp_path / "LITELLM_MASTER_KEY").write_text("sk-from-a-file\n")
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / ".LITELLM_SALT_KEY.partial").write_text("half written")
    environment = {"LITELLM_LOCAL_SECRETS": str(tmp_path)}
    read_secrets(environment)
    assert environment == {"LITELLM_LOCAL_SECRETS": str(tmp_path), "LITELLM_MASTER_KEY": "sk-from-a-file"}


def test_a_secret_of_kubernetes_is_links_to_links(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_25").mkdir()
    (tmp_path / "..2026_11_25" / "LITELLM_MASTER_KEY").write_text("sk-from-a-secret")
    (tmp_path / "..data").symlink_to("..2026_11_25")
    (tmp_path / "LITELLM_MASTER_KEY").symlink_to("..data/LITELLM_MASTER_KEY")
    environment = {"LITELLM_LOCAL_SECRETS": str(tmp_path)}
    read_secrets(environment)
    assert environment["LITELLM_MASTER_KEY"] == "sk-from-a-secret"
    assert len(environment) == 2


def test_what_is_set_already_wins(tmp_path: Path) -> None:
    (tmp_path / "LITELLM_MASTER_KEY").write_text("sk-from-a-file")
    environment = {"LITELLM_LOCAL_SECRETS": str(tmp_path), "LITELLM_MASTER_KEY": "sk-given"}
    read_secrets(environment)
    assert environment["LITELLM_MASTER_KEY"] == "sk-given"


def test_without_a_folder_nothing_is_read() -> None:
    environment: dict[str, str] = {}
    read_secrets(environment)
    assert environment == {}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_secrets({"LITELLM_LOCAL_SECRETS": str(tmp_path / "missing")})


@pytest.mark.parametrize(
    ("url", "bounded"),
    [
        ("postgresql://l:p@db/litellm", "postgresql://l:p@db/litellm?connection_limit=8"),
        (
            "postgresql://l:p@db/litellm?sslmode=require",
            "postgresql://l:p@db/litellm?sslmode=require&connection_limit=8",
        ),
        ("postgresql://l:p@db/litellm?connection_limit=3", "postgresql://l:p@db/litellm?connection_limit=3"),
        ("", ""),
    ],
)
def test_the_pool_is_bounded_where_the_url_does_not_say(url: str, bounded: str) -> None:
    environment = {"DATABASE_URL": url, "LITELLM_LOCAL_DATABASE_POOL": "8"}
    bound_pool(environment)
    assert environment["DATABASE_URL"] == bounded
    unasked = {"DATABASE_URL": url}
    bound_pool(unasked)
    assert unasked == {"DATABASE_URL": url}


def test_the_first_process_of_a_container_ends_when_told_while_it_starts() -> None:
    """Linux lets the first process of a PID namespace ignore SIGTERM unless it has a handler."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "--pid", "--fork", "true"], check=False).returncode:
        pytest.skip("PID namespaces cannot be made here")
    program = (
        "import os, signal, proxy.container as c; c.stop_when_told(); "
        "assert os.getpid() == 1; os.kill(1, signal.SIGTERM); print('still here', flush=True)"
    )
    done = subprocess.run(
        [unshare, "--pid", "--fork", sys.executable, "-c", program],
        cwd=project_root(),
        env={**os.environ, "PYTHONPATH": str(project_root())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, ""), done.stderr

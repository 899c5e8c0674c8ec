"""The image's entry point: secrets come as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.container import read_secrets


def test_each_file_is_a_variable(tmp_path: Path) -> None:
    (tmp_path / "LITELLM_MASTER_KEY").write_text("sk-from-a-file\n")
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / ".LITELLM_SALT_KEY.partial").write_text("half written")
    environment = {"LITELLM_LOCAL_SECRETS": str(tmp_path)}
    read_secrets(environment)
    assert environment == {"LITELLM_LOCAL_SECRETS": str(tmp_path), "LITELLM_MASTER_KEY": "sk-from-a-file"}


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

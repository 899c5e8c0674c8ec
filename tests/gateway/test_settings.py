"""`python -m proxy.gateway` told too little or wrong: one line on stderr, exit 2, at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.gateway.settings import SettingsError, read_settings


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "proxy.yaml").write_text("{}")
    (tmp_path / "litellm.yaml").write_text("{}")
    return {
        "LITELLM_LOCAL_CONFIG": str(tmp_path / "proxy.yaml"),
        "CONFIG_FILE_PATH": str(tmp_path / "litellm.yaml"),
        "LITELLM_LOCAL_MODE": "double",
        "LITELLM_MASTER_KEY": "sk-" + "master",
        "LITELLM_SALT_KEY": "salt",
        "DATABASE_URL": "postgresql://someone:secret@127.0.0.1/litellm",
    }


def test_all_that_is_needed(environment):
    settings = read_settings({**environment, "LITELLM_LOCAL_PORT": "4001", "LITELLM_LOCAL_DATABASE_WAIT": "5"})
    assert settings.drain == 15.0
    assert read_settings({**environment, "LITELLM_LOCAL_DRAIN": "600"}).drain == 600.0
    assert (settings.mode, settings.host, settings.port, settings.database_wait) == ("double", None, 4001, 5.0)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"LITELLM_LOCAL_MODE": "fake"}, "LITELLM_LOCAL_MODE is 'fake', neither double nor live"),
        ({"LITELLM_LOCAL_PORT": "http"}, "LITELLM_LOCAL_PORT is 'http', not a number"),
        ({"LITELLM_LOCAL_DRAIN": "long"}, "LITELLM_LOCAL_DRAIN is 'long', not a number"),
        ({"LITELLM_LOCAL_CONFIG": "/no/such.yaml"}, "LITELLM_LOCAL_CONFIG names /no/such.yaml, which is no file"),
        ({"DATABASE_URL": " "}, "DATABASE_URL is not set"),
    ],
)
def test_each_fault_is_named(environment, change, says):
    with pytest.raises(SettingsError, match=says):
        read_settings({**environment, **change})


def test_the_program_says_all_that_is_missing_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "proxy.gateway"], env={"PATH": ""}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for name in ("LITELLM_LOCAL_CONFIG", "CONFIG_FILE_PATH", "LITELLM_MASTER_KEY", "DATABASE_URL"):
        assert f"{name} is not set" in done.stderr


def test_the_program_says_what_is_wrong_with_the_configuration(environment, tmp_path):
    (tmp_path / "proxy.yaml").write_text("models: 5\n")
    done = subprocess.run(
        [sys.executable, "-m", "proxy.gateway"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "models" in done.stderr
    assert "Traceback" not in done.stderr

"""`litellm-local config`, run as the command it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from proxy.catalog import load_catalog, project_root
from proxy.catalog.load import default_path
from proxy.catalog.schema import schema_text
from proxy.cli import config as command
from proxy.render.litellm import litellm_config
from proxy.simulator import api_bases

DEFAULT = default_path().read_text(encoding="utf-8")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy.cli", "config", *arguments],
        cwd=project_root(),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "proxy.yaml"
    file.write_text(DEFAULT.replace("port: 4000", "port: yes", 1).replace("gpt-4o-mini, ", "gpt-4o-mimi, ", 1))
    return file


@pytest.fixture(autouse=True)
def _fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "today", lambda: date(2026, 11, 24))


def test_check_accepts_the_shipped_file_and_warns() -> None:
    result = CliRunner().invoke(command.config, ["check"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    warnings = [line for line in lines if ": warning: " in line]
    assert len(warnings) == 9
    assert "proxy.yaml is right: 3 providers, 8 models, 4 fallback chains." in result.output
    place, _, message = warnings[0].partition(": warning: ")
    assert message.startswith("gpt-5-mini: gpt-5-mini-2025-08-07 retires on 2026-12-11")
    number = int(place.rpartition(":")[2])
    assert DEFAULT.splitlines()[number - 1].strip() == "upstream: gpt-5-mini-2025-08-07"


def test_check_strict_fails_on_warnings_and_only_on_them(tmp_path: Path) -> None:
    assert CliRunner().invoke(command.config, ["check", "--strict"]).exit_code == 1
    data = yaml.safe_load(DEFAULT)
    data["models"] = {"gpt-4o-mini": data["models"]["gpt-4o-mini"]}
    data["fallbacks"] = {}
    file = tmp_path / "proxy.yaml"
    file.write_text(yaml.safe_dump(data))
    result = CliRunner().invoke(command.config, ["check", "--strict", "--config", str(file)])
    assert (result.exit_code, "warning" in result.output) == (0, False), result.output


def test_check_names_every_mistake(broken: Path) -> None:
    result = run("check", "--config", str(broken))
    assert result.returncode == 1
    assert "gateway.port: must be a whole number, not the text 'yes'" in result.stdout
    assert "unknown fallback model 'gpt-4o-mimi'; did you mean 'gpt-4o-mini'?" in result.stdout
    assert "2 problems." in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_check_as_json(broken: Path) -> None:
    good = json.loads(CliRunner().invoke(command.config, ["check", "--json"]).output)
    assert (good["ok"], good["problems"], len(good["warnings"])) == (True, [], 9)
    assert {"kind", "model", "line", "path", "message"} == set(good["warnings"][0])
    bad = CliRunner().invoke(command.config, ["check", "--json", "--config", str(broken)])
    report = json.loads(bad.output)
    assert (bad.exit_code, report["ok"], report["warnings"]) == (1, False, [])
    assert [problem["path"] for problem in report["problems"]] == ["fallbacks.gpt-4o.0", "gateway.port"]
    assert all(problem["line"] > 0 for problem in report["problems"])


@pytest.mark.parametrize("arguments", [["show"], ["show", "--json"], ["render", "litellm"]])
def test_a_broken_file_ends_other_commands_with_its_mistakes(arguments: list[str], broken: Path) -> None:
    result = run(*arguments, "--config", str(broken))
    assert (result.returncode, result.stdout) == (1, "")
    assert "gateway.port: must be a whole number" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["check", "--bad"], ["render", "nginx-please"], ["no-such-command"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


def test_show_has_models_chains_and_limits() -> None:
    output = CliRunner().invoke(command.config, ["show"]).output
    for text in ("claude-opus-4-5-20251101", "2,000,000", "0.000075", "1,000", "4, 2 s apart", "600 s"):
        assert text in output
    assert "gpt-4o-mini → claude-sonnet-4 → gemini-2.0-flash" in output


def test_show_works_on_a_terminal_without_unicode() -> None:
    result = run("show", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "gpt-4o-mini -> claude-sonnet-4 -> gemini-2.0-flash" in result.stdout


def test_show_as_json_is_the_catalogue_without_passwords(tmp_path: Path) -> None:
    shown = json.loads(CliRunner().invoke(command.config, ["show", "--json"]).output)
    assert shown == load_catalog().model_dump(mode="json")
    file = tmp_path / "proxy.yaml"
    file.write_text(DEFAULT.replace("  url: null", "  url: postgresql://u:hunter2@db/litellm", 1))
    output = CliRunner().invoke(command.config, ["show", "--json", "--config", str(file)]).output
    assert "hunter2" not in output
    assert "@db/litellm" in json.loads(output)["database"]["url"]


def test_render_litellm_is_live_unless_told_otherwise(tmp_path: Path) -> None:
    live = CliRunner().invoke(command.config, ["render", "litellm"])
    assert yaml.safe_load(live.output) == litellm_config(load_catalog())
    out = tmp_path / "litellm.yaml"
    url = "http://127.0.0.1:9"
    double = CliRunner().invoke(command.config, ["render", "litellm", "--double", url, "--out", str(out)])
    assert double.exit_code == 0
    assert yaml.safe_load(out.read_text()) == litellm_config(load_catalog(), api_bases=api_bases(url))


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = run("render", "litellm", "--out", str(tmp_path / "no" / "folder.yaml"))
    assert result.returncode == 1
    assert "cannot write" in result.stderr
    assert "Traceback" not in result.stderr


def test_schema_is_printed() -> None:
    assert CliRunner().invoke(command.config, ["schema"]).output == schema_text()


def test_the_commands_do_not_import_litellm() -> None:
    """It takes seconds: `config check` is to be quick."""
    code = "import sys; import proxy.cli.config as c; c.load_catalog(); sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=project_root(), check=False, timeout=60).returncode == 0

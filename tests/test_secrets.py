"""`.env`: made once, private, never shown whole, and never lost."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from proxy import secrets

NAMES = (
    secrets.MASTER_KEY,
    secrets.SALT_KEY,
    secrets.POSTGRES_PASSWORD,
    secrets.CONTROL_KEY,
    secrets.VALKEY_PASSWORD,
)


@pytest.fixture(autouse=True)
def _no_secrets_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    first = secrets.ensure_secrets(path)
    assert set(first) == set(NAMES)
    assert len(set(first.values())) == len(NAMES)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.ensure_secrets(path) == first
    assert secrets.ensure_secrets(tmp_path / "other") != first


def test_a_made_master_key_is_strong(tmp_path: Path) -> None:
    made = [secrets.ensure_secrets(tmp_path / str(n))[secrets.MASTER_KEY] for n in range(50)]
    assert [key for key in made if secrets.weakness(key)] == []


def test_what_the_operator_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nexport OPENAI_API_KEY='abc=d'\nLITELLM_SALT_KEY=\n")
    values = secrets.ensure_secrets(path)
    assert values["OPENAI_API_KEY"] == "abc=d"
    assert values[secrets.SALT_KEY].startswith("salt-")
    assert "# mine\nexport OPENAI_API_KEY='abc=d'\n" in path.read_text()
    assert path.read_text().count("LITELLM_SALT_KEY=") == 1


def test_a_value_in_the_environment_wins_and_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(secrets.MASTER_KEY, "sk-from-the-environment-0000")
    values = secrets.ensure_secrets(tmp_path / ".env")
    assert values[secrets.MASTER_KEY] == "sk-from-the-environment-0000"
    assert "from-the-environment" not in (tmp_path / ".env").read_text()


def test_a_file_that_others_can_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    secrets.ensure_secrets(path)
    path.chmod(0o644)
    secrets.ensure_secrets(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_is_no_assignment_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nnonsense\n")
    with pytest.raises(secrets.SecretsError, match=r"\.env, line 2"):
        secrets.ensure_secrets(path)
    assert path.read_text() == "A=1\nnonsense\n"


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(secrets.SecretsError, match="--env-file"):
        secrets.ensure_secrets(tmp_path / "file" / ".env")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("sk-" + "1234", "only 4 characters"),
        ("abcdefghijklmnopqrstuvwxyz", "does not begin with sk-"),
        ("sk-" + "a" * 40, "repeats"),
        ("sk-my-super-" + "secret-master-key-99", "tutorial"),
    ],
)
def test_weak_keys_are_told_apart(key: str, why: str) -> None:
    assert why in (secrets.weakness(key) or "")


def test_a_mask_shows_little() -> None:
    assert secrets.mask("sk-abcdefghijklmnopqrstuvwxyz") == "sk-abc…"
    assert secrets.mask("short") == "s…"


def test_a_new_value_takes_the_old_ones_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    before = secrets.ensure_secrets(path)
    path.write_text(f"{path.read_text()}# mine\nOPENAI_API_KEY=abc\nexport {secrets.MASTER_KEY}='sk-set-later'\n")
    path.chmod(0o644)
    made = secrets.rotate(path, [secrets.MASTER_KEY], keep={"X": "1"})
    text = path.read_text()
    assert "sk-set-later" not in text
    assert before[secrets.MASTER_KEY] not in text
    assert "# mine\nOPENAI_API_KEY=abc\n" in text
    assert secrets.read_env_file(path) == {**before, **made, "OPENAI_API_KEY": "abc", "X": "1"}
    assert secrets.weakness(made[secrets.MASTER_KEY]) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets.forget(path, "X")
    assert secrets.read_env_file(path) == {**before, **made, "OPENAI_API_KEY": "abc"}
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]


def test_what_cannot_be_changed_is_said_and_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    with pytest.raises(secrets.SecretsError, match="has no LITELLM_MASTER_KEY yet"):
        secrets.rotate(path, [secrets.MASTER_KEY])
    assert not path.exists()
    secrets.ensure_secrets(path)
    text = path.read_text()
    monkeypatch.setenv(secrets.CONTROL_KEY, "double-of-the-environment")
    with pytest.raises(secrets.SecretsError, match="set in the environment"):
        secrets.rotate(path, [secrets.MASTER_KEY, secrets.CONTROL_KEY])
    assert path.read_text() == text

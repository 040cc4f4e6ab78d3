"""Every check runs, none is fatal, and what cannot be found out is said."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Check, Level
from slurm_restart.control.doctor import CHECKS, examine, gather, run_check
from slurm_restart.control.site import Site
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.slurm.commands import Commands
from tests.unit.control.checks.installation import NOBODY, as_root

NOTHING = Context(site_path=Path("/nowhere"), site_found=("bad",), config_found="no answer")


def raising(error: Exception) -> Check:
    def run(_: Context) -> tuple[()]:
        raise error

    return Check(id="a.b", meaning="a", run=run)


def test_every_check_has_a_name_of_its_own_and_a_meaning() -> None:
    names = [check.id for check in CHECKS]
    assert len(names) == len(set(names)) > 30
    assert all(check.meaning.endswith(".") for check in CHECKS)


@pytest.mark.parametrize(
    "error",
    [PermissionError(13, "Permission denied", "/root/x"), SlurmError("no SLURM_VERSION")],
)
def test_what_cannot_be_read_is_unknown(error: Exception) -> None:
    [result] = run_check(raising(error), NOTHING)
    assert (result.check, result.level) == ("a.b", Level.UNKNOWN)
    assert str(error) in result.text
    assert result.remedy


def test_without_settings_and_slurm_the_two_problems_are_named_and_nothing_else() -> None:
    found = examine(NOTHING)
    problems = [result.check for result in found if result.level is Level.PROBLEM]
    assert problems == ["site.valid", "slurm.config"]
    needing = [result for result in found if result.text.startswith("not checked")]
    assert len(needing) > 20
    assert all(result.level is Level.UNKNOWN and result.remedy for result in needing)


@pytest.mark.parametrize("text", ["", "a(b)(1)", "slurm", "nosuchuser(99999999999)"])
def test_an_unknown_slurm_user_is_no_crash(text: str) -> None:
    found = examine(replace(NOTHING, config_found={"SlurmUser": text}))
    [result] = [result for result in found if result.check == "slurm.commands"]
    assert result.level is Level.UNKNOWN


def test_the_answers_of_slurm_and_the_settings_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text('mode = "observe"\n')
    monkeypatch.setattr(Commands, "config", lambda _: {"JobRequeue": "1"})
    context = gather(site)
    assert context.site.observe
    assert context.config == {"JobRequeue": "1"}


def test_settings_that_are_wrong_and_a_silent_slurmctld_are_gathered_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: Commands) -> dict[str, str]:
        raise SlurmUnavailableError("configuration: no answer")

    site = tmp_path / "site.toml"
    site.write_text('mode = "maybe"\nfoo = 1\n')
    monkeypatch.setattr(Commands, "config", silent)
    context = gather(site)
    assert isinstance(context.site_found, tuple)
    assert len(context.site_found) == 2
    assert context.config_found == "configuration: no answer"


def test_a_missing_settings_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Commands, "config", lambda _: {})
    [text] = gather(tmp_path / "absent.toml").site_found  # type: ignore[misc]
    assert "absent.toml" in text


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings whose scontrol says so when it is run."""
    (tmp_path / "scontrol").write_text(
        f"#!/bin/sh\ntouch {tmp_path}/asked\necho 'JobRequeue = 1'\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    (tmp_path / "site.toml").write_text(f'slurm_bin = "{tmp_path}"\n')
    monkeypatch.setenv("PATH", str(tmp_path / "absent"))
    return tmp_path / "site.toml"


def test_slurm_is_asked_with_the_commands_of_the_settings(asked: Path) -> None:
    assert gather(asked).config == {"JobRequeue": "1"}


@as_root
@pytest.mark.parametrize("of", ["site.toml", "."])
def test_root_runs_no_program_that_a_users_settings_name(asked: Path, of: str) -> None:
    os.chown(asked.parent / of, NOBODY.pw_uid, 0)
    context = gather(asked)
    assert not (asked.parent / "asked").exists()
    assert isinstance(context.config_found, str)
    assert "belongs to nobody)" in context.config_found
    assert context.bin_dir is None
    assert isinstance(context.site_found, Site)

"""What SlurmUser has to read: site.toml, slurm.conf, the commands; and the mode."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Level
from tests.unit.control.checks.installation import (
    NOBODY,
    as_root,
    for_nobody,
    level,
    only,
    problem,
    results,
    sited,
)

RULE = r"""
rules:
- id: site.example
  category: storage.io
  role: root
  pattern: 'the shelf \w{1,20} is gone'
  meaning: An example.
  sources: [this test]
  examples:
    positive: ['the shelf five is gone']
    negative: ['the shelf is there']
"""


@pytest.mark.parametrize(
    "name",
    [
        "site.valid",
        "site.readable",
        "site.owner",
        "site.mode",
        "slurm.config",
        "slurm.commands",
        "slurm.conf",
        "slurm.ping",
    ],
)
def test_right_files(context: Context, name: str) -> None:
    assert level(context, name) is Level.OK


def test_each_problem_of_the_settings_is_named(context: Context) -> None:
    found = results(replace(context, site_found=("a: bad", "b: bad")), "site.valid")
    assert [result.level for result in found] == [Level.PROBLEM] * 2
    assert [result.text.partition(" (")[0] for result in found] == ["a: bad", "b: bad"]


@as_root
@pytest.mark.parametrize(
    ("check", "name"), [("site.readable", "site.toml"), ("slurm.conf", "slurm.conf")]
)
def test_a_file_that_slurm_user_cannot_read(
    context: Context, top: Path, check: str, name: str
) -> None:
    found = for_nobody(context)
    assert level(found, check) is Level.OK
    (top / name).chmod(0o600)
    assert problem(found, check) == f"nobody (SlurmUser) cannot read {top / name}"


def test_a_missing_slurm_conf(context: Context) -> None:
    context.site.slurm_conf.unlink()
    assert problem(context, "slurm.conf").endswith(f"cannot read {context.site.slurm_conf}")


def test_settings_that_everybody_can_write(context: Context) -> None:
    context.site_path.chmod(0o666)
    text = problem(context, "site.owner")
    assert text.startswith(f"{context.site_path} can be written by everybody")


@as_root
def test_settings_of_a_user(context: Context) -> None:
    os.chown(context.site_path, NOBODY.pw_uid, 0)
    assert problem(context, "site.owner").startswith(f"{context.site_path} belongs to nobody")


def test_observe_mode_is_a_warning(context: Context) -> None:
    result = only(sited(context, observe=True), "site.mode")
    assert (result.level, result.text.partition(":")[0]) == (Level.WARNING, "mode is `observe`")


def test_a_silent_slurmctld(context: Context) -> None:
    silent = replace(context, config_found="configuration: no answer")
    assert problem(silent, "slurm.config").endswith("configuration: no answer")


@pytest.mark.parametrize("name", ["scontrol", "squeue", "sinfo", "scancel"])
def test_a_missing_command(context: Context, name: str) -> None:
    (context.site.slurm_bin / name).unlink()
    text = problem(context, "slurm.commands")
    assert text.endswith(f"cannot execute {context.site.slurm_bin / name}")


@as_root
def test_commands_that_slurm_user_cannot_execute(context: Context) -> None:
    found = for_nobody(context)
    assert level(found, "slurm.commands") is Level.OK
    context.site.slurm_bin.chmod(0o700)
    assert problem(found, "slurm.commands").count(str(context.site.slurm_bin)) == 4


def test_a_request_as_slurm_user_fails(context: Context) -> None:
    scontrol = context.site.slurm_bin / "scontrol"
    scontrol.write_text("#!/bin/sh\necho 'error: no munge' >&2\nexit 1\n")
    assert problem(context, "slurm.ping").endswith("error: no munge")


def test_a_request_has_the_environment_of_the_hook(context: Context) -> None:
    scontrol = context.site.slurm_bin / "scontrol"
    scontrol.write_text('#!/bin/sh\n[ -n "$HOME$SLURM_JOB_ID" ] || echo "$SLURM_CONF is UP"\n')
    assert level(context, "slurm.ping") is Level.OK


def test_the_sites_rules(context: Context, top: Path) -> None:
    assert results(context, "site.rules") == ()
    rules = top / "rules.d"
    rules.mkdir()
    (rules / "good.yaml").write_text(RULE)
    assert only(context, "site.rules").text == f"1 rules in {rules}"
    (rules / "bad.yaml").write_text("rules: 3\n")
    assert problem(context, "site.rules").startswith(f"invalid log rule: {rules}/bad.yaml")

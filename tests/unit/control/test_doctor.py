"""Every check of doctor finds what is wrong, says how to correct it, and is content otherwise."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.control import doctor
from slurm_restart.control.doctor import (
    CheckResult,
    Level,
    Setup,
    examine,
    hooks,
    seconds,
    slurm_user,
)
from slurm_restart.control.hook_script import hook_text
from slurm_restart.control.site import HookLimits, Site

ME = f"me({os.getuid()})"
STUB = "#!/bin/sh\n"
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


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """A controller that is set up right."""
    commands, state, systemd = tmp_path / "bin", tmp_path / "state", tmp_path / "systemd"
    for directory in (commands, state, systemd):
        directory.mkdir()
    state.chmod(0o700)
    for name in ("scontrol", "squeue", "sinfo", "scancel"):
        (commands / name).write_text(STUB)
        (commands / name).chmod(0o755)
    (tmp_path / "slurm.conf").touch()
    (systemd / doctor.TIMER).write_text("[Timer]\nOnUnitInactiveSec=30\n")
    monkeypatch.setattr(doctor, "_SYSTEMD", (tmp_path / "absent", systemd))
    monkeypatch.setattr(doctor, "SITE_RULES", tmp_path / "rules.d")
    site_path, hook = tmp_path / "site.toml", tmp_path / "csx-epilog"
    hook.write_text(hook_text(site_path, python=Path(sys.executable)))
    hook.chmod(0o755)
    return Setup(
        site=Site(state_dir=state, slurm_bin=commands, slurm_conf=tmp_path / "slurm.conf"),
        site_path=site_path,
        config={
            "EpilogSlurmctld": str(hook),
            "SlurmUser": ME,
            "MinJobAge": "300 sec",
            "JobRequeue": "1",
            "PrologEpilogTimeout": "65534",
        },
    )


def results(setup: Setup, check: str) -> list[CheckResult]:
    return [result for result in examine(setup) if result.check == check]


def only(setup: Setup, check: str) -> tuple[Level, str]:
    [result] = results(setup, check)
    return result.level, result.text


def problems(setup: Setup, check: str) -> list[str]:
    found = [result for result in results(setup, check) if result.level is Level.PROBLEM]
    assert all(result.remedy for result in found)
    return [result.text for result in found]


def configured(setup: Setup, **config: str) -> Setup:
    return replace(setup, config=dict(setup.config) | config)


def hook_of(setup: Setup) -> Path:
    return Path(setup.config["EpilogSlurmctld"])


def test_a_controller_that_is_set_up_right_has_no_problem(setup: Setup) -> None:
    found = examine(setup)
    assert {result.level for result in found} == {Level.OK}
    assert [result.check for result in found] == [
        "hook",
        "commands",
        "state",
        "timer",
        "requeue",
        "open mode",
        "mode",
    ]


# --- hook ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        ({}, ()),
        ({"EpilogSlurmctld": "(null)"}, ()),
        ({"EpilogSlurmctld": ""}, ()),
        ({"EpilogSlurmctld": "/a"}, ("/a",)),
        ({"EpilogSlurmctld[0]": "/a", "EpilogSlurmctld[1]": "/b"}, ("/a", "/b")),
        ({"EpilogSlurmctld": "/a,/b"}, ("/a", "/b")),
        ({"PrologSlurmctld": "/p", "EpilogSlurmctldX": "/x"}, ()),
    ],
)
def test_the_paths_of_the_hook(config: dict[str, str], paths: tuple[str, ...]) -> None:
    assert hooks(config) == paths


@pytest.mark.parametrize("value", ["(null)", "/nowhere/csx-epilog", sys.executable])
def test_another_hook_is_a_problem(setup: Setup, value: str) -> None:
    [text] = problems(configured(setup, EpilogSlurmctld=value), "hook")
    assert text.startswith("EpilogSlurmctld is not csx-epilog")


def test_a_second_hook_is_a_problem(setup: Setup, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(STUB)
    [text] = problems(configured(setup, EpilogSlurmctld=f"{other},{hook_of(setup)}"), "hook")
    assert text.startswith("2 EpilogSlurmctld programs")


def test_a_hook_that_is_not_executable_is_a_problem(setup: Setup) -> None:
    hook_of(setup).chmod(0o644)
    assert problems(setup, "hook") == [f"{hook_of(setup)} is not executable"]


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_hook_that_others_may_write_is_a_problem(setup: Setup, mode: int) -> None:
    hook_of(setup).chmod(mode)
    assert problems(setup, "hook") == [f"{hook_of(setup)} can be written by others"]


def test_a_hook_for_other_settings_is_a_problem(setup: Setup) -> None:
    elsewhere = replace(setup, site_path=Path("/elsewhere/site.toml"))
    [text] = problems(elsewhere, "hook")
    assert text == f"{hook_of(setup)} reads {setup.site_path}, not /elsewhere/site.toml"


@pytest.mark.parametrize("python", ["/nowhere/python", "/bin/false"])
def test_an_interpreter_without_the_package_is_a_problem(setup: Setup, python: str) -> None:
    hook_of(setup).write_text(hook_text(setup.site_path, python=Path(python)))
    assert problems(setup, "hook") == [f"{python} cannot import slurm_restart"]


def test_a_hook_that_is_not_filled_in_is_a_problem(setup: Setup) -> None:
    hook_of(setup).write_text(f"#!/bin/sh\n# {doctor.HOOK_MARK}\n")
    texts = problems(setup, "hook")
    assert [text.partition(" ")[2] for text in texts] == [
        f"reads no settings, not {setup.site_path}",
        "interpreter cannot import slurm_restart",
    ]


def test_a_path_with_a_space_is_read_back(setup: Setup, tmp_path: Path) -> None:
    site_path = tmp_path / "a b.toml"
    hook_of(setup).write_text(hook_text(site_path, python=Path(sys.executable)))
    assert problems(replace(setup, site_path=site_path), "hook") == []


# --- commands and state directory ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["scontrol", "squeue", "sinfo", "scancel"])
def test_a_missing_command_is_a_problem(setup: Setup, name: str) -> None:
    (setup.site.slurm_bin / name).unlink()
    assert problems(setup, "commands") == [f"missing: {setup.site.slurm_bin / name}"]


def test_a_missing_slurm_conf_is_a_problem(setup: Setup) -> None:
    setup.site.slurm_conf.unlink()
    assert problems(setup, "commands") == [f"{setup.site.slurm_conf} does not exist"]


@pytest.mark.parametrize(
    ("text", "user"),
    [("slurm(64030)", ("slurm", 64030)), ("slurm", None), ("", None), ("a(b)(1)", None)],
)
def test_slurm_user(text: str, user: tuple[str, int] | None) -> None:
    assert slurm_user({"SlurmUser": text}) == user


def test_a_missing_state_directory_is_a_problem(setup: Setup) -> None:
    setup.site.state_dir.rmdir()
    [result] = results(setup, "state")
    assert result.level is Level.PROBLEM
    assert result.remedy == f"install -d -m 700 -o me {setup.site.state_dir}"


def test_a_state_directory_of_another_user_is_a_problem(setup: Setup) -> None:
    other = configured(setup, SlurmUser=f"slurm({os.getuid() + 1})")
    [text] = problems(other, "state")
    assert text == f"{setup.site.state_dir} does not belong to SlurmUser (slurm)"


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o740, 0o704, 0o755])
def test_a_state_directory_that_is_open_to_others_is_a_problem(setup: Setup, mode: int) -> None:
    setup.site.state_dir.chmod(mode)
    assert problems(setup, "state") == [f"{setup.site.state_dir} is accessible to others"]


def test_without_a_slurm_user_the_directory_is_to_be_the_callers(setup: Setup) -> None:
    assert only(configured(setup, SlurmUser=""), "state")[0] is Level.OK


# --- timer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"), [("300 sec", 300), ("0", 0), ("INFINITE", None), ("", None)]
)
def test_seconds(text: str, number: int | None) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize(
    ("line", "interval"),
    [
        ("OnUnitInactiveSec=30", 30),
        ("OnUnitActiveSec=45s", 45),
        ("OnUnitActiveSec=45sec", 45),
        ("OnUnitActiveSec=2min", 120),
        ("OnUnitActiveSec=2m", 120),
        ("OnBootSec=30", None),
        ("OnUnitActiveSec=1h", None),
    ],
)
def test_the_interval_of_the_timer(
    setup: Setup, tmp_path: Path, line: str, interval: int | None
) -> None:
    assert setup.config["MinJobAge"] == "300 sec"
    (tmp_path / "systemd" / doctor.TIMER).write_text(f"[Timer]\n{line}\n")
    assert doctor.timer_interval() == interval


def test_without_a_timer_there_is_a_note(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "systemd" / doctor.TIMER).unlink()
    level, text = only(setup, "timer")
    assert (level, text.startswith(f"no {doctor.TIMER}")) == (Level.NOTE, True)


@pytest.mark.parametrize(
    ("keep", "level"),
    [
        ("90 sec", Level.OK),
        ("89 sec", Level.PROBLEM),
        ("60 sec", Level.PROBLEM),
        ("unlimited", Level.OK),
    ],
)
def test_three_sweeps_have_to_fit_into_minjobage(setup: Setup, keep: str, level: Level) -> None:
    assert only(configured(setup, MinJobAge=keep), "timer")[0] is level


# --- requeue, open mode, mode --------------------------------------------------------------------


def test_jobrequeue_0_is_a_note(setup: Setup) -> None:
    levels = [result.level for result in results(configured(setup, JobRequeue="0"), "requeue")]
    assert levels == [Level.NOTE, Level.OK]


def test_a_requeue_delay_of_the_site_is_shown(setup: Setup) -> None:
    delayed = configured(setup, SchedulerParameters="bf_continue,requeue_delay=0")
    assert only(delayed, "requeue") == (Level.OK, "SchedulerParameters sets requeue_delay")
    assert "121 s" in only(setup, "requeue")[1]


@pytest.mark.parametrize(
    ("limit", "found"),
    [("59", 1), ("60", 0), ("61", 0), ("0", 0), ("65534", 0), ("65535", 0), ("", 0)],
)
def test_slurm_must_not_end_the_hook_before_its_deadline(
    setup: Setup, limit: str, found: int
) -> None:
    site = replace(setup.site, limits=HookLimits(deadline=60))
    texts = problems(replace(configured(setup, PrologEpilogTimeout=limit), site=site), "requeue")
    assert len(texts) == found


@pytest.mark.parametrize(("limit", "found"), [("65534", 1), ("65535", 0)])
def test_an_unlimited_time_is_no_limit(setup: Setup, limit: str, found: int) -> None:
    site = replace(setup.site, limits=HookLimits(deadline=70_000))
    texts = problems(replace(configured(setup, PrologEpilogTimeout=limit), site=site), "requeue")
    assert len(texts) == found


@pytest.mark.parametrize(
    ("value", "text"), [("1", "JobFileAppend=1"), ("0", "JobFileAppend=0: csx-sbatch passes")]
)
def test_the_open_mode_is_shown(setup: Setup, value: str, text: str) -> None:
    level, shown = only(configured(setup, JobFileAppend=value), "open mode")
    assert (level, shown.startswith(text)) == (Level.OK, True)


def test_observe_mode_is_a_note(setup: Setup) -> None:
    assert only(setup, "mode") == (Level.OK, "act")
    observing = replace(setup, site=replace(setup.site, observe=True))
    assert only(observing, "mode")[0] is Level.NOTE


# --- rules ---------------------------------------------------------------------------------------


def test_the_sites_rules_are_checked(setup: Setup, tmp_path: Path) -> None:
    rules = tmp_path / "rules.d"
    rules.mkdir()
    (rules / "good.yaml").write_text(RULE)
    assert only(setup, "rules") == (Level.OK, f"1 rules in {rules}")
    (rules / "bad.yaml").write_text("rules: 3\n")
    [text] = problems(setup, "rules")
    assert text.startswith(f"invalid log rule: {rules}/bad.yaml")

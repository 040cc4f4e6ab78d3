"""The checks of the hook find each thing that can be wrong with it, and nothing in a right one."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart import __version__
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.hook_file import HookFile, find_hook
from slurm_restart.control.checks.result import Level
from slurm_restart.control.hook_script import hook_text
from slurm_restart.control.site import HookLimits
from tests.unit.control.checks.installation import (
    NOBODY,
    as_root,
    configured,
    for_nobody,
    hook_of,
    level,
    only,
    problem,
    results,
    sited,
)

STUB = "#!/bin/sh\n"
HOOK_CHECKS = ("configured", "single", "executable", "owner", "settings", "version")


@pytest.mark.parametrize("name", HOOK_CHECKS)
def test_a_right_hook(context: Context, name: str) -> None:
    assert level(context, f"hook.{name}") is Level.OK


@pytest.mark.parametrize("value", ["(null)", "", "/nowhere/csx-epilog", sys.executable, "/etc"])
def test_another_hook_is_a_problem(context: Context, value: str) -> None:
    text = problem(configured(context, EpilogSlurmctld=value), "hook.configured")
    assert text.startswith("EpilogSlurmctld is not csx-epilog")


@pytest.mark.parametrize("name", ["single", "executable", "owner", "settings", "version", "python"])
def test_without_a_hook_the_rest_is_unknown(context: Context, name: str) -> None:
    result = only(configured(context, EpilogSlurmctld="(null)"), f"hook.{name}")
    assert (result.level, result.remedy) == (Level.UNKNOWN, "see hook.configured")


@pytest.mark.parametrize(
    "settings",
    [
        {"EpilogSlurmctld[0]": "{other}", "EpilogSlurmctld[1]": "{hook}"},
        {"EpilogSlurmctld[0]": "{hook}", "EpilogSlurmctld[1]": "{other}"},
        {"EpilogSlurmctld": "{other},{hook}"},
    ],
)
def test_a_second_hook_is_a_problem(context: Context, top: Path, settings: dict[str, str]) -> None:
    other, hook = top / "other", hook_of(context)
    other.write_text(STUB)
    several = {key: value.format(other=other, hook=hook) for key, value in settings.items()}
    config = {key: value for key, value in context.config.items() if key != "EpilogSlurmctld"}
    found = replace(context, config_found=config | several)
    assert str(other) in problem(found, "hook.single")
    assert only(found, "hook.single").remedy == (
        f"keep only csx-epilog, and let it run the other: csx-restart hook --former {other}"
    )
    assert level(found, "hook.configured") is Level.OK


def test_a_hook_that_is_not_executable_is_a_problem(context: Context) -> None:
    hook_of(context).chmod(0o644)
    assert problem(context, "hook.executable").endswith(
        f"cannot read and execute {hook_of(context)}"
    )


@as_root
@pytest.mark.parametrize("mode", [0o700, 0o744, 0o711])
def test_a_hook_that_slurm_user_cannot_run_is_a_problem(context: Context, mode: int) -> None:
    found = for_nobody(context)
    assert level(found, "hook.executable") is Level.OK
    hook_of(context).chmod(mode)
    text = problem(found, "hook.executable")
    assert text == f"nobody (SlurmUser) cannot read and execute {hook_of(context)}"


@as_root
def test_a_directory_that_slurm_user_cannot_enter_is_a_problem(context: Context, top: Path) -> None:
    top.chmod(0o700)
    assert level(for_nobody(context), "hook.executable") is Level.PROBLEM


def test_what_cannot_be_tried_as_slurm_user_is_unknown(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY.pw_uid + 1)
    for name in ("hook.executable", "hook.python", "site.readable", "slurm.conf", "slurm.ping"):
        result = only(for_nobody(context), name)
        assert result.level is Level.UNKNOWN
        assert result.text == "could not be tried as SlurmUser (nobody)"
        assert result.remedy == "run csx-restart doctor as root"


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_a_hook_that_others_may_write_is_a_problem(context: Context, mode: int) -> None:
    hook = hook_of(context)
    hook.chmod(mode)
    assert problem(context, "hook.owner").startswith(f"{hook} can be written by everybody")
    assert only(context, "hook.owner").remedy == f"chown root {hook}; chmod go-w {hook}"


@as_root
def test_a_hook_of_a_user_is_a_problem(context: Context) -> None:
    os.chown(hook_of(context), NOBODY.pw_uid, 0)
    assert problem(context, "hook.owner").startswith(f"{hook_of(context)} belongs to nobody")
    assert level(for_nobody(context), "hook.owner") is Level.OK


@as_root
def test_a_hook_in_the_directory_of_a_user_is_a_problem(context: Context, top: Path) -> None:
    os.chown(top, NOBODY.pw_uid, 0)
    assert problem(context, "hook.owner").startswith(f"{top} belongs to nobody")


def test_a_hook_for_other_settings_is_a_problem(context: Context) -> None:
    elsewhere = replace(context, site_path=Path("/elsewhere/site.toml"))
    text = problem(elsewhere, "hook.settings")
    assert text == f"{hook_of(context)} reads {context.site_path}, not /elsewhere/site.toml"


def test_a_hook_that_is_not_filled_in_is_a_problem(context: Context) -> None:
    hook_of(context).write_text(f"{STUB}# slurm_restart.control\n")
    assert problem(context, "hook.settings").endswith(f"reads no settings, not {context.site_path}")
    assert problem(context, "hook.python").startswith("no interpreter cannot import slurm_restart")
    assert level(context, "hook.version") is Level.WARNING


@pytest.mark.parametrize("name", ["a b.toml", "a'b.toml", "a#b.toml"])
def test_an_unusual_path_is_read_back(context: Context, top: Path, name: str) -> None:
    hook_of(context).write_text(hook_text(top / name, python=Path(sys.executable)))
    found = replace(context, site_path=top / name)
    assert level(found, "hook.settings") is Level.OK
    assert level(found, "hook.version") is Level.OK


# --- version -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("# slurm_restart 0.3.0", "0.3.0"),
        ("# slurm_restart: 0.3.0rc1+local", "0.3.0rc1+local"),
        ("#slurm_restart v12.0", "12.0"),
        ("# EpilogSlurmctld of slurm_restart. It runs", None),
        ("# slurm_restart", None),
        ("echo slurm_restart 0.3.0", None),
    ],
)
def test_the_version_in_a_hook(line: str, version: str | None) -> None:
    assert HookFile(path=Path("/h"), text=f"{STUB}{line}\nexit 0\n").version == version


def test_a_hook_of_another_version_is_a_problem(context: Context) -> None:
    hook = hook_of(context)
    lines = [line for line in hook.read_text().splitlines() if __version__ not in line]
    lines.insert(1, "# slurm_restart 0.0.1")
    hook.write_text("\n".join(lines) + "\n")
    text = problem(context, "hook.version")
    assert text == f"{hook} is of slurm_restart 0.0.1, this is {__version__}"
    printing = f"csx-restart hook --site {context.site_path} > {hook}"
    assert only(context, "hook.version").remedy == f"print it again: {printing}"


def test_a_hook_that_somebody_changed_is_a_warning(context: Context) -> None:
    hook = hook_of(context)
    hook.write_text(hook.read_text() + "# a line of the site's\n")
    result = only(context, "hook.version")
    assert result.level is Level.WARNING
    assert result.text == f"{hook} differs from what `csx-restart hook` of {__version__} prints"


@pytest.mark.parametrize("line", ["SITE='/a", "SITE=", "SITE=''", "#SITE=/a", "XSITE=/a"])
def test_a_value_that_is_not_there(line: str) -> None:
    assert not HookFile(path=Path("/h"), text=f"{STUB}{line}\n").site


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"state_dir": Path("/else")}, "STATE={state_dir}"),
        ({"slurm_bin": Path("/else")}, "BIN={slurm_bin}"),
        ({"slurm_conf": Path("/else")}, "CONF={slurm_conf}"),
        (
            {"limits": HookLimits(concurrency=7, deadline=17)},
            "FORMER_TIME=30, JUDGE=70, SLOTS={limits.concurrency}",
        ),
    ],
)
def test_a_hook_with_former_settings(context: Context, changes: dict[str, Any], shown: str) -> None:
    assert level(context, "hook.values") is Level.OK
    held = shown.format_map(vars(context.site))
    text = problem(sited(context, **changes), "hook.values")
    assert text == f"{hook_of(context)} holds {held}, which {context.site_path} no longer says"
    assert level(sited(context, **changes), "hook.version") is Level.OK


def test_a_setting_that_the_hook_does_not_hold_may_change(context: Context) -> None:
    assert level(sited(context, observe=True), "hook.values") is Level.OK


def test_modules_of_comments_are_not_the_hooks() -> None:
    text = "# see slurm_restart.control.old\npython -c 'from slurm_restart.control.new import x'\n"
    assert HookFile(path=Path("/h"), text=text).modules == ("slurm_restart.control.new",)


@pytest.mark.parametrize(
    ("line", "modules"),
    [
        ("PYTHON=/opt/slurm_restart.venv/bin/python", ()),
        ("/opt/slurm_restart.1/python -m slurm_restart.control.a", ("slurm_restart.control.a",)),
        ("python -c 'import slurm_restart.control.b'", ("slurm_restart.control.b",)),
    ],
)
def test_paths_with_the_packages_name_are_no_modules(line: str, modules: tuple[str, ...]) -> None:
    assert HookFile(path=Path("/h"), text=f"#!/bin/sh\n{line}\n").modules == modules


# --- the site's former hook ----------------------------------------------------------------------


def test_the_former_hook(context: Context, top: Path) -> None:
    assert results(context, "hook.former") == ()
    former, site = top / "former", context.site_path
    hook_of(context).write_text(hook_text(site, former=former, python=Path(sys.executable)))
    assert level(context, "hook.version") is Level.OK
    assert f"cannot execute {former}" in problem(context, "hook.former")
    former.write_text(STUB)
    assert level(context, "hook.former") is Level.PROBLEM
    former.chmod(0o755)
    assert only(context, "hook.former").text == f"it runs {former} first"


# --- reading -------------------------------------------------------------------------------------


def test_a_hook_that_this_user_may_not_read_is_unknown(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _limit: int) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("slurm_restart.control.checks.hook_file.read_bounded", refuse)
    result = only(context, "hook.configured")
    assert result.level is Level.UNKNOWN
    assert result.text == f"not checked: {hook_of(context)} could not be read: Permission denied"


def test_the_hook_is_found_among_others(context: Context) -> None:
    found = find_hook(configured(context, EpilogSlurmctld=f"/bin/true,{hook_of(context)}"))
    assert found is not None
    assert found.path == hook_of(context)

"""The directories that the controller writes."""

import os
import pwd
from pathlib import Path

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Level
from tests.unit.control.checks.installation import (
    ME,
    NOBODY,
    as_root,
    configured,
    for_nobody,
    level,
    only,
    problem,
    results,
    sited,
)


@pytest.fixture
def exporting(context: Context, top: Path) -> Context:
    """The installation with an export directory in which a file is."""
    directory = top / "export"
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "7.json").touch()
    return sited(context, export_dir=directory)


@pytest.mark.parametrize("name", ["directory", "path", "files"])
def test_a_right_state_directory(context: Context, name: str) -> None:
    assert level(context, f"state.{name}") is Level.OK


def test_a_missing_state_directory(context: Context) -> None:
    path = context.site.state_dir
    path.rmdir()
    assert problem(context, "state.directory") == f"the state directory {path} does not exist"
    remedy = only(context, "state.directory").remedy
    assert remedy == f"install -d -m 700 -o {ME.pw_name} {path}"
    assert level(context, "state.files") is Level.UNKNOWN


def test_a_file_in_place_of_the_state_directory(context: Context) -> None:
    context.site.state_dir.rmdir()
    context.site.state_dir.touch()
    assert problem(context, "state.directory").endswith("is no directory")


def test_a_state_directory_of_another_user(context: Context) -> None:
    other = next(user for user in map(pwd.getpwnam, ("nobody", "daemon")) if user != ME)
    found = configured(context, SlurmUser=f"{other.pw_name}({other.pw_uid})")
    text = f"belongs to {ME.pw_name}, not to SlurmUser ({other.pw_name})"
    assert problem(found, "state.directory").endswith(text)


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o740, 0o704, 0o755])
def test_a_state_directory_that_is_open_to_others(context: Context, mode: int) -> None:
    path = context.site.state_dir
    path.chmod(mode)
    text = f"the state directory {path} is accessible to others"
    assert problem(context, "state.directory") == text
    assert only(context, "state.directory").remedy == f"chmod 700 {path}"


@as_root
def test_a_state_directory_that_slurm_user_cannot_enter(context: Context, top: Path) -> None:
    os.chown(context.site.state_dir, NOBODY.pw_uid, NOBODY.pw_gid)
    found = for_nobody(context)
    assert level(found, "state.directory") is Level.OK
    top.chmod(0o700)
    text = problem(found, "state.directory")
    assert text == f"nobody (SlurmUser) cannot write {context.site.state_dir}"


def test_a_state_directory_that_others_can_replace(context: Context, top: Path) -> None:
    top.chmod(0o777)
    assert problem(context, "state.path").startswith(f"{top} can be written by everybody")


@as_root
def test_files_of_root_in_the_state_directory(context: Context) -> None:
    state = context.site.state_dir
    (state / "journal" / "cluster").mkdir(parents=True)
    for number in range(5):
        (state / "journal" / "cluster" / f"{number}.jsonl").touch()
    for path in (state, state / "journal", state / "journal" / "cluster"):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    found = for_nobody(context)
    text = problem(found, "state.files")
    assert text.count(".jsonl (root)") == 3
    assert " and 2 more: nobody (SlurmUser)" in text
    assert only(found, "state.files").remedy == f"chown -hR nobody {state}"
    for number in range(5):
        os.chown(state / "journal" / "cluster" / f"{number}.jsonl", NOBODY.pw_uid, 0)
    assert only(found, "state.files").text == f"all 7 files below {state} belong to nobody"


def test_a_state_directory_that_this_user_may_not_list(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("slurm_restart.control.checks.state.files_below", refuse)
    result = only(context, "state.files")
    assert (result.level, result.remedy) == (Level.UNKNOWN, "run csx-restart doctor as root")


# --- space ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mebibytes", "inodes", "left", "found"),
    [
        (15, 1000, 900, Level.PROBLEM),
        (16, 1000, 900, Level.WARNING),
        (255, 1000, 900, Level.WARNING),
        (256, 1000, 900, Level.OK),
        (256, 1000, 0, Level.PROBLEM),
        (256, 0, 0, Level.OK),
    ],
)
def test_how_much_space_is_left(
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
    mebibytes: int,
    inodes: int,
    left: int,
    found: Level,
) -> None:
    # bsize, frsize, blocks, bfree, bavail, files, ffree, favail, flag, namemax
    blocks = mebibytes * 256
    shown = os.statvfs_result((4096, 4096, 10**6, 10**6, blocks, inodes, inodes, left, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: shown)
    assert level(context, "state.space") is found


# --- export_dir ----------------------------------------------------------------------------------


def test_no_export_directory(context: Context) -> None:
    assert level(context, "export.directory") is Level.OK
    assert results(context, "export.owner") == ()


def test_a_right_export_directory(exporting: Context) -> None:
    assert level(exporting, "export.directory") is Level.OK
    assert [result.level for result in results(exporting, "export.owner")] == [Level.OK] * 2


def test_a_missing_export_directory(context: Context, top: Path) -> None:
    found = sited(context, export_dir=top / "absent")
    assert problem(found, "export.directory") == f"export_dir {top}/absent does not exist"


def test_a_file_in_place_of_the_export_directory(context: Context, top: Path) -> None:
    found = sited(context, export_dir=top / "site.toml")
    assert problem(found, "export.directory").endswith("is no directory")


@as_root
def test_an_export_directory_that_slurm_user_cannot_write(exporting: Context, top: Path) -> None:
    text = problem(for_nobody(exporting), "export.directory")
    assert text == f"nobody (SlurmUser) cannot write export_dir {top}/export"


@pytest.mark.parametrize("mode", [0o750, 0o751, 0o754])
@pytest.mark.parametrize("above", [False, True])
def test_an_export_directory_that_is_closed_to_users(
    exporting: Context, top: Path, mode: int, *, above: bool
) -> None:
    closed = top if above else top / "export"
    closed.chmod(mode)
    result = only(exporting, "export.directory")
    assert result.level is Level.WARNING
    assert f"{closed} is closed to others" in result.text


@as_root
def test_an_export_directory_of_a_user(exporting: Context, top: Path) -> None:
    os.chown(top / "export", NOBODY.pw_uid, 0)
    [owner, files] = results(exporting, "export.owner")
    assert owner.level is Level.PROBLEM
    assert owner.text.startswith(f"{top}/export belongs to nobody")
    assert files.level is Level.OK
    os.chown(top / "export" / "7.json", NOBODY.pw_uid, 0)
    assert results(exporting, "export.owner")[1].level is Level.PROBLEM


@pytest.mark.parametrize(
    ("private", "mode", "found"),
    [
        ("none", 0o755, Level.OK),
        ("accounts,usage", 0o755, Level.OK),
        ("jobs,usage", 0o755, Level.WARNING),
        ("nodes", 0o755, Level.WARNING),
        ("jobs", 0o700, Level.OK),
    ],
)
def test_copies_of_what_slurm_hides(
    exporting: Context, private: str, mode: int, found: Level
) -> None:
    assert exporting.site.export_dir is not None
    exporting.site.export_dir.chmod(mode)
    assert level(configured(exporting, PrivateData=private), "export.private") is found


def test_without_copies_nothing_is_shown(context: Context) -> None:
    assert results(configured(context, PrivateData="jobs"), "export.private") == ()

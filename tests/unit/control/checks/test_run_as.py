"""Programs run as another user with nothing of this process but its rights to change the user."""

import os
import subprocess
from pathlib import Path

import pytest

from slurm_restart.control.checks import run_as
from slurm_restart.control.checks.run_as import Account, CannotTryError, last_line, not_accessible
from slurm_restart.slurm.process import Completed
from tests.unit.control.checks.installation import ME, NOBODY, as_root

OWN = Account(name=ME.pw_name, uid=ME.pw_uid, gid=ME.pw_gid)
OTHER = Account(name="nobody", uid=NOBODY.pw_uid, gid=NOBODY.pw_gid)


def test_the_environment_and_the_directory_are_not_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET", "7")
    done = run_as.run_as(OWN, ("/usr/bin/env",), env={"SLURM_CONF": "/x"})
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert "SLURM_CONF" in names
    assert names <= {"SLURM_CONF", "PWD", "OLDPWD", "SHLVL", "_"}
    assert run_as.run_as(OWN, ("/bin/pwd",)).stdout == "/\n"


@pytest.mark.parametrize(("path", "code"), [("/nowhere/python", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_be_run(path: str, code: int) -> None:
    done = run_as.run_as(OWN, (path,))
    assert done.code == code
    assert path in last_line(done)


def test_a_program_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_as, "_TIMEOUT", 0.2)
    done = run_as.run_as(OWN, ("/bin/sleep", "60"))
    assert (done.code, last_line(done)) == (124, "no end within 0.2 s")


@as_root
def test_root_becomes_the_other_user_with_his_groups() -> None:
    done = run_as.run_as(OTHER, ("/usr/bin/id", "-u"))
    assert done.stdout == f"{NOBODY.pw_uid}\n"
    groups = run_as.run_as(OTHER, ("/usr/bin/id", "-G")).stdout.split()
    assert set(map(int, groups)) == set(os.getgrouplist("nobody", NOBODY.pw_gid))


@as_root
def test_what_the_other_user_cannot_do(top: Path) -> None:
    open_, closed = top / "open", top / "closed one"
    for path in (open_, closed):
        path.touch()
    open_.chmod(0o644)
    closed.chmod(0o600)
    paths = (str(open_), str(closed), str(top / "absent"))
    assert not_accessible(OTHER, "-r", *paths) == paths[1:]
    assert not_accessible(OWN, "-r", *paths) == paths[2:]


@pytest.mark.parametrize(("own", "expected"), [(0, True), (OTHER.uid, False)])
def test_the_child_gets_the_other_users_identity(
    monkeypatch: pytest.MonkeyPatch, own: int, *, expected: bool
) -> None:
    given: dict[str, object] = {}

    def start(_: object, **options: object) -> subprocess.CompletedProcess[str]:
        given.update(options)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(os, "geteuid", lambda: own)
    monkeypatch.setattr(subprocess, "run", start)
    run_as.run_as(OTHER, ("/bin/true",))
    identity = {name: given[name] for name in ("user", "group", "extra_groups") if name in given}
    groups = os.getgrouplist("nobody", OTHER.gid)
    full = {"user": OTHER.uid, "group": OTHER.gid, "extra_groups": groups}
    assert identity == (full if expected else {})


def test_another_than_root_cannot_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OTHER.uid + 1)
    with pytest.raises(CannotTryError, match=r"as SlurmUser \(nobody\)"):
        run_as.run_as(OTHER, ("/bin/true",))


@pytest.mark.parametrize(
    ("done", "line"),
    [
        (Completed(1, "", "Traceback\n  x\nModuleNotFoundError: y\n"), "ModuleNotFoundError: y"),
        (Completed(1, "down\n", ""), "down"),
        (Completed(3, "", "\n"), "exit code 3"),
    ],
)
def test_the_line_that_names_the_error(done: Completed, line: str) -> None:
    assert last_line(done) == line

"""The interpreter and the package that the hook uses, tried as SlurmUser."""

import os
import sys
from pathlib import Path

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.hook_file import the_hook
from slurm_restart.control.checks.result import Level
from slurm_restart.control.hook_script import hook_text
from tests.unit.control.checks.installation import (
    NOBODY,
    as_root,
    for_nobody,
    hook_of,
    level,
    only,
    problem,
)

PACKAGE = "__version__ = {version!r}\n"


def use(context: Context, python: Path) -> None:
    """Let the hook start that interpreter."""
    hook_of(context).write_text(hook_text(context.site_path, python=python))


@pytest.fixture
def package(context: Context, top: Path) -> Path:
    """The directory of a package of another installation, which the hook's interpreter has."""
    directory = top / "lib" / "slurm_restart"
    (directory / "control").mkdir(parents=True)
    python = top / "python"
    # -S: without the installed package. -I: PYTHONPATH has no effect.
    start = f"import sys; sys.path.insert(0, '{top}/lib'); exec(sys.argv.pop(1))"
    script = f'shift 2\ncode=$1\nshift\nexec {sys.executable} -I -S -c "{start}" "$code" "$@"'
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    use(context, python)
    (directory / "__init__.py").write_text(PACKAGE.format(version="0.0.1"))
    (directory / "control" / "__init__.py").touch()
    for module in the_hook(context).modules:
        (directory / "control" / f"{module.rpartition('.')[2]}.py").touch()
    return directory


def test_the_interpreter_of_this_installation(context: Context) -> None:
    assert level(context, "hook.python") is Level.OK
    assert level(context, "hook.package") is Level.OK


@as_root
def test_nobody_can_use_the_interpreter_of_this_installation(context: Context) -> None:
    assert level(for_nobody(context), "hook.python") is Level.OK


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/nowhere/python", "not found"),
        ("/etc/passwd", "Permission denied"),
        ("/bin/false", "exit code 1"),
        ("/bin/true", "exit code 0"),
        ("python3", "expected an absolute path"),
        ("/usr/bin/python3", "No module named 'slurm_restart'"),
    ],
)
def test_an_interpreter_without_the_package(context: Context, python: str, reason: str) -> None:
    use(context, Path(python))
    text = problem(context, "hook.python")
    assert text.startswith(f"{python} cannot import slurm_restart as ")
    assert text.endswith(reason)
    assert level(context, "hook.package") is Level.UNKNOWN
    assert level(context, "hook.package_owner") is Level.UNKNOWN


@as_root
def test_a_package_that_slurm_user_cannot_read(context: Context, package: Path) -> None:
    found = for_nobody(context)
    assert level(found, "hook.python") is Level.OK
    package.chmod(0o700)
    assert "as nobody (SlurmUser)" in problem(found, "hook.python")
    assert level(context, "hook.python") is Level.OK


@as_root
def test_an_interpreter_that_slurm_user_cannot_reach(context: Context, package: Path) -> None:
    found = for_nobody(context)
    python = package.parent.parent / "python"
    python.chmod(0o700)
    assert problem(found, "hook.python").endswith("Permission denied")


def test_a_package_of_another_version(context: Context, package: Path) -> None:
    assert problem(context, "hook.package").startswith(
        f"the hook uses slurm_restart 0.0.1 ({package})"
    )


def test_a_package_that_everybody_can_change(context: Context, package: Path) -> None:
    assert level(context, "hook.package_owner") is Level.OK
    for name in ("__init__.py", "control/__init__.py"):
        (package / name).chmod(0o666)
    text = problem(context, "hook.package_owner")
    assert f"{package}/__init__.py can be written by everybody" in text
    assert f"{package}/control/__init__.py can be written by everybody" in text


def test_of_many_places_three_are_named(context: Context, package: Path) -> None:
    for number in range(5):
        (package / f"m{number}.py").touch()
        (package / f"m{number}.py").chmod(0o666)
    text = problem(context, "hook.package_owner")
    assert text.count("can be written by everybody") == 3
    assert " and 2 more, so that" in text


@as_root
def test_a_package_of_a_user(context: Context, package: Path) -> None:
    os.chown(package.parent, NOBODY.pw_uid, 0)
    assert problem(context, "hook.package_owner").startswith(f"{package.parent} belongs to nobody")
    assert only(for_nobody(context), "hook.package_owner").level is Level.OK

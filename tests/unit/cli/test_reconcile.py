"""`csx-restart reconcile` runs as SlurmUser: root becomes that user, and others are refused."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.unit.other_users import DAEMON, NOBODY, as_root

COMMAND = """\
#!/bin/sh
id -u >> {calls}
case "$*" in
    *config*) echo "ClusterName             = alps"; echo "SlurmUser               = {user}" ;;
esac
"""


class Installation:
    """A site with stub commands that any user can run, and a state directory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.bin = folder, folder / "state", folder / "bin"
        self.calls = folder / "calls"
        self.calls.touch()
        self.calls.chmod(0o666)
        self.site = folder / "site.toml"
        self.site.write_text(
            f'state_dir = "{self.state}"\nslurm_bin = "{self.bin}"\nslurm_conf = "/none"\n'
        )
        for path, mode in ((folder, 0o755), (self.state, 0o700), (self.bin, 0o755)):
            path.mkdir(exist_ok=True)
            path.chmod(mode)

    def slurm_user(self, name: str, uid: int) -> None:
        for command in ("squeue", "scontrol", "sinfo"):
            text = COMMAND.format(calls=self.calls, user=f"{name}({uid})")
            (self.bin / command).write_text(text)
            (self.bin / command).chmod(0o755)

    def give(self, path: Path, uid: int) -> None:
        os.chown(path, uid, uid)

    def reconcile(self, uid: int | None = None) -> subprocess.CompletedProcess[str]:
        user: dict[str, Any] = {}
        if uid is not None:
            user = {"user": uid, "group": uid, "extra_groups": []}
        command = [sys.executable, "-I", "-m", "slurm_restart.cli.restart", "reconcile", "--json"]
        return subprocess.run(
            [*command, "--site", str(self.site)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd="/",
            env={},
            **user,
        )

    def owners(self) -> set[int]:
        """The owners of all that is in the state directory."""
        return {path.lstat().st_uid for path in self.state.rglob("*")}


@pytest.fixture
def installation() -> Iterator[Installation]:
    with TemporaryDirectory() as name:
        yield Installation(Path(name))


@as_root
def test_root_becomes_slurm_user_before_anything_is_run(installation: Installation) -> None:
    installation.slurm_user("nobody", NOBODY)
    installation.give(installation.state, NOBODY)
    (installation.state / "csx-epilog.log").touch()
    done = installation.reconcile()
    assert (done.returncode, json.loads(done.stdout)["managed"]) == (0, 0)
    log = installation.state / "csx-epilog.log"
    problem = f"{log}: belongs to root, not to nobody: chown nobody {log}"
    assert done.stderr == f"csx-restart: {problem}\n"
    assert installation.reconcile().stderr == ""
    installation.give(log, NOBODY)
    assert set(installation.calls.read_text().split()) == {str(NOBODY)}
    assert installation.owners() == {NOBODY}


@as_root
def test_another_user_is_refused_before_anything_is_touched(installation: Installation) -> None:
    installation.slurm_user("nobody", NOBODY)
    installation.give(installation.state, NOBODY)
    done = installation.reconcile(DAEMON)
    assert done.returncode == 2
    assert "csx-restart reconcile runs as SlurmUser, not as daemon" in done.stderr
    assert installation.calls.read_text() == ""
    assert installation.owners() == set()


def test_a_state_directory_of_another_user_than_slurm_user(installation: Installation) -> None:
    installation.slurm_user("slurm", os.geteuid() + 1)
    done = installation.reconcile()
    assert done.returncode == 7
    assert f"but SlurmUser is slurm: chown -R slurm {installation.state}" in done.stderr


def test_no_state_directory(installation: Installation) -> None:
    installation.state.rmdir()
    done = installation.reconcile()
    assert done.returncode == 7
    assert f"{installation.state}: no such directory: install -d -m 700" in done.stderr
    assert not installation.state.exists()

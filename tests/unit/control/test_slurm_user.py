"""A command that writes to the state directory runs as its owner, or not at all."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from slurm_restart.control import slurm_user
from slurm_restart.control.slurm_user import become_owner, check_slurm_user
from slurm_restart.errors import StateError
from tests.unit.other_users import DAEMON, NOBODY, as_root

BECOME = """\
import os, sys
from pathlib import Path
from slurm_restart.control.slurm_user import become_owner
from slurm_restart.errors import CsxError
try:
    become_owner(Path(sys.argv[1]), "csx-restart reconcile")
except CsxError as error:
    sys.exit(f"{error.exit_code} {error}")
Path(sys.argv[1], "file").touch()
print(*os.getresuid(), *os.getresgid(), *os.getgroups(), os.getcwd(), os.environ["HOME"])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can reach, as pytest's are root's alone."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "state").mkdir(mode=0o700)
        yield Path(name)


def run(code: str, *arguments: object, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    user: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd="/tmp",
        **user,
    )


@as_root
def test_root_becomes_the_owner_for_good(folder: Path) -> None:
    state = folder / "state"
    os.chown(state, NOBODY, NOBODY)
    done = run(BECOME, state)
    account = pwd.getpwuid(NOBODY)
    groups = set(os.getgrouplist(account.pw_name, account.pw_gid))
    uids, gids, rest = done.stdout.split()[:3], done.stdout.split()[3:6], done.stdout.split()[6:]
    assert uids == [str(NOBODY)] * 3
    assert gids == [str(account.pw_gid)] * 3
    assert set(map(int, rest[:-2])) == groups
    assert rest[-2:] == ["/", account.pw_dir]
    assert (state / "file").stat().st_uid == NOBODY
    assert (state / "file").stat().st_mode & 0o777 == 0o600


@as_root
def test_another_user_is_refused(folder: Path) -> None:
    state = folder / "state"
    os.chown(state, NOBODY, NOBODY)
    done = run(BECOME, state, uid=DAEMON)
    assert done.stderr.strip() == (
        f"2 csx-restart reconcile runs as SlurmUser, not as daemon (belongs to nobody: {state}): "
        "run it as root, or with sudo -u SLURMUSER"
    )
    folder.chmod(0o700)
    done = run(BECOME, state, uid=DAEMON)
    assert done.stderr.startswith("2 csx-restart reconcile runs as SlurmUser, not as daemon (may")
    assert list(state.iterdir()) == []


@as_root
def test_an_owner_without_an_account(folder: Path) -> None:
    os.chown(folder / "state", 54_321, 54_321)
    done = run(BECOME, folder / "state")
    assert done.stderr.startswith(f"7 {folder}/state: belongs to uid 54321, which has no account")
    assert list((folder / "state").iterdir()) == []


def test_the_owner_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_user, "_become", pytest.fail)
    assert become_owner(tmp_path, "x") == os.geteuid()


def test_without_a_state_directory(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="none: no such directory: install -d -m 700 -o SLURMUSER"):
        become_owner(tmp_path / "none", "x")
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="Not a directory"):
        become_owner(tmp_path / "file" / "x", "x")


def test_groups_are_given_up_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []
    for name in ("initgroups", "setresgid", "setresuid", "umask", "chdir"):
        monkeypatch.setattr(os, name, lambda *args, name=name: calls.append((name, *args)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    account = pwd.struct_passwd(("someone", "x", 77, 78, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: account)
    monkeypatch.setattr(os, "environ", {})
    stat = tmp_path.stat()

    def owned(_path: Path, **_: Any) -> os.stat_result:
        return os.stat_result((stat.st_mode, 1, 1, 1, 77, 78, 0, 0, 0, 0))

    monkeypatch.setattr(Path, "stat", owned)
    assert become_owner(tmp_path, "x") == 77
    assert calls == [
        ("initgroups", "someone", 78),
        ("setresgid", 78, 78, 78),
        ("setresuid", 77, 77, 77),
        ("umask", 0o077),
        ("chdir", "/"),
    ]
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StateError, match=r"someone may not read .*__init__\.py: install"):
        become_owner(tmp_path, "x")


@pytest.mark.parametrize(
    "config",
    [{}, {"SlurmUser": "odd"}, {"SlurmUser": f"me({os.geteuid()})"}, {"SlurmUser": "x(y)"}],
)
def test_slurm_says_the_same_or_nothing(tmp_path: Path, config: Mapping[str, str]) -> None:
    check_slurm_user(tmp_path, config)


def test_slurm_names_another_user(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=f"but SlurmUser is slurm: chown -R slurm {tmp_path}"):
        check_slurm_user(tmp_path, {"SlurmUser": f"slurm({os.geteuid() + 1})"})

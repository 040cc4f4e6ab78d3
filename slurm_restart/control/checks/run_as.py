"""Run a program as SlurmUser, the way slurmctld runs the hook, to see what that user can do."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.process import Completed

_TIMEOUT = 20
"""Seconds; importing the package from a slow file system takes a few."""
_TIMED_OUT = 124  # as timeout(1)
# The shell reports a program that cannot be run: 126 or 127, and the reason on stderr.
_EXEC = ("/bin/sh", "-c", 'exec "$@"', "sh")
_TEST = 'test=$1; shift; for path do test "$test" "$path" || printf "%s\\n" "$path"; done'


class CannotTryError(CsxError):
    """This process has not the rights to run a program as the other user."""

    remedy = "run csx-restart doctor as root"


@frozen
class Account:
    """A user of this host."""

    name: str
    uid: int
    gid: int


def run_as(
    account: Account, arguments: Sequence[str], *, env: Mapping[str, str] | None = None
) -> Completed:
    """Run a program as another user, in `/`, with nothing but `env` in its environment.

    Returns:
        Exit code and output: 126 or 127 where that user cannot run the program, 124 where it did
        not end in time.

    Raises:
        CannotTryError: this process is neither root's nor that user's.
    """
    try:
        done = subprocess.run(
            [*_EXEC, *arguments],
            env=dict(env or {}),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            **_identity(account),
        )
    except subprocess.TimeoutExpired:
        return Completed(_TIMED_OUT, "", f"no end within {_TIMEOUT} s")
    return Completed(done.returncode, done.stdout, done.stderr)


def not_accessible(account: Account, test: str, *paths: str) -> tuple[str, ...]:
    """Return those paths for which test(1) is false if that user runs it.

    Args:
        account: the user.
        test: an operator of test(1): `-r` readable, `-w` writable, `-x` executable.
        paths: files or directories.

    Raises:
        CannotTryError: this process is neither root's nor that user's.
    """
    done = run_as(account, ("/bin/sh", "-c", _TEST, "sh", test, *paths))
    return tuple(path for path in paths if path in done.stdout.splitlines())


def last_line(done: Completed) -> str:
    """Return the last line that a program printed, which is the one that names an error."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else f"exit code {done.code}"


def _identity(account: Account) -> dict[str, Any]:
    """Return the arguments of subprocess.run that make a child that user's."""
    own = os.geteuid()
    if own == account.uid:
        return {}
    if own != 0:
        raise CannotTryError(f"could not be tried as SlurmUser ({account.name})")
    groups = os.getgrouplist(account.name, account.gid)
    return {"user": account.uid, "group": account.gid, "extra_groups": groups}

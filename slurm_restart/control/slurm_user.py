"""Run as SlurmUser: nobody else may leave files in the state directory."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import slurm_restart
from slurm_restart.control.state_dir import state_error, user_name
from slurm_restart.errors import StateError, UsageError

_ROOT = 0


def become_owner(state_dir: Path, command: str) -> int:
    """Make this process run as the owner of the state directory, who is SlurmUser; return the uid.

    Root becomes that user for good, before it runs or opens anything that the settings name; any
    other user is refused. `check_slurm_user` compares the owner with Slurm's own setting.

    Args:
        state_dir: the state directory.
        command: what the process is to do, for messages: `csx-restart reconcile`.

    Raises:
        UsageError: the process runs as another user.
        StateError: there is no state directory, or its owner has no account.
    """
    try:
        owner = state_dir.stat().st_uid
    except FileNotFoundError:
        make = f"install -d -m 700 -o SLURMUSER {state_dir}"
        raise StateError(f"{state_dir}: no such directory: {make}") from None
    except PermissionError:
        raise UsageError(_format_refusal(command, f"may not read {state_dir}")) from None
    except OSError as error:
        raise state_error(state_dir, error) from error
    current = os.geteuid()
    if current == owner:
        return owner
    if current != _ROOT:
        raise UsageError(_format_refusal(command, f"belongs to {user_name(owner)}: {state_dir}"))
    try:
        account = pwd.getpwuid(owner)
    except KeyError:
        raise StateError(f"{state_dir}: belongs to uid {owner}, which has no account") from None
    _become(account)
    return owner


def _format_refusal(command: str, why: str) -> str:
    return (
        f"{command} runs as SlurmUser, not as {user_name(os.geteuid())} ({why}): run it as root, "
        f"or with sudo -u SLURMUSER"
    )


def _become(account: pwd.struct_passwd) -> None:
    """Give up root for good: groups first, as a later step may no longer change them."""
    os.initgroups(account.pw_name, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    os.umask(0o077)
    os.chdir("/")
    os.environ.update(HOME=account.pw_dir, USER=account.pw_name, LOGNAME=account.pw_name)
    package = Path(slurm_restart.__file__)
    if not os.access(package, os.R_OK):
        raise StateError(
            f"{account.pw_name} may not read {package}: install slurm_restart where SlurmUser can "
            "read it, as the hook runs from there too"
        )


def check_slurm_user(state_dir: Path, config: Mapping[str, str]) -> None:
    """Check that this process runs as SlurmUser of the cluster.

    Args:
        state_dir: the state directory, which belongs to the user of this process.
        config: the output of `scontrol show config`, whose SlurmUser is `name(uid)`.

    Raises:
        StateError: SlurmUser is somebody else.
    """
    name, _, rest = config.get("SlurmUser", "").partition("(")
    uid = rest.removesuffix(")")
    if uid.isdecimal() and int(uid) != os.geteuid():
        raise StateError(
            f"{state_dir}: belongs to {user_name(os.geteuid())}, but SlurmUser is {name}: "
            f"chown -R {name} {state_dir}"
        )

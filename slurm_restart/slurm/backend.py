"""Which back end serves the port to Slurm here, and why."""

import os
from dataclasses import dataclass

from slurm_restart.errors import UsageError
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm

COMMANDS, RPC = "commands", "rpc"


@dataclass(frozen=True, slots=True)
class Choice:
    """A back end, its name, and the reason for it as one sentence."""

    slurm: Slurm
    name: str
    reason: str


def choose(
    prefer: str | None = None,
    *,
    bin_dir: str | os.PathLike[str] | None = None,
    slurm_conf: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
) -> Choice:
    """Choose pyslurm where it can be used, else Slurm's commands.

    The hook and the supervisor do not ask: a fresh process uses `Commands`.

    Args:
        prefer: `commands` or `rpc`; None: whatever is best here.
        bin_dir: the directory of Slurm's commands; None: PATH.
        slurm_conf: path of slurm.conf; None: as the environment or Slurm's default has it.
        timeout: seconds that one request may take.

    Raises:
        UsageError: `rpc` is preferred, but cannot be used; the message says why.
        SlurmError: Slurm's commands cannot be run.
    """
    commands = Commands(bin_dir, slurm_conf, timeout)
    if prefer == COMMANDS:
        return Choice(commands, COMMANDS, "asked for")
    obstacle = rpc_obstacle(commands)
    if obstacle is None:
        from slurm_restart.slurm.rpc import Rpc  # noqa: PLC0415 - most processes need it not

        return Choice(Rpc(commands, slurm_conf, timeout), RPC, "pyslurm matches Slurm's release")
    if prefer == RPC:
        raise UsageError(f"pyslurm cannot be used: {obstacle}")
    return Choice(commands, COMMANDS, obstacle)


def rpc_obstacle(commands: Commands) -> str | None:
    """Why pyslurm cannot be used with this Slurm; None: it can."""
    from slurm_restart.slurm.rpc import pyslurm_release  # noqa: PLC0415 - as above

    built_for, running = pyslurm_release(), commands.release()
    if built_for is None:
        return "pyslurm is not installed"
    if built_for != running:
        ours, theirs = (f"{year}.{month:02}" for year, month in (built_for, running))
        return f"pyslurm is for Slurm {ours}, this is {theirs}"
    return None

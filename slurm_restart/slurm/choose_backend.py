"""Choose between Slurm's commands and pyslurm, and give the reason for the choice."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from typing import Literal

from slurm_restart.errors import SlurmError, UsageError
from slurm_restart.slurm.commands import Commands

BACKEND_VARIABLE = "CSX_RESTART_BACKEND"
AUTO: Literal["auto"] = "auto"
COMMANDS: Literal["commands"] = "commands"
PYSLURM: Literal["pyslurm"] = "pyslurm"
BACKENDS = (AUTO, COMMANDS, PYSLURM)

_RELEASE = re.compile(r"([0-9]{2})\.([0-9]{1,2})(?:\.|$)")


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """The back end in use, its name (`commands` or `pyslurm`), and the reason as one sentence."""

    slurm: Commands
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def choose_backend(
    prefer: str = AUTO,
    *,
    long_lived: bool,
    bin_dir: str | os.PathLike[str] | None = None,
    slurm_conf: str | os.PathLike[str] | None = None,
    timeout: float = 10.0,
    report: Callable[[str], None] | None = None,
) -> BackendChoice:
    """Choose a back end.

    Args:
        prefer: `commands`, `pyslurm`, or `auto`: pyslurm where it can be used and the process
            lives long enough to gain from it. Importing it takes 24 ms of CPU time, one answer of
            squeue and one of scontrol together about 10 ms.
        long_lived: whether the process sends many requests.
        bin_dir: the directory of Slurm's commands; None: PATH.
        slurm_conf: path of slurm.conf; None: the environment's, else Slurm's default.
        timeout: seconds that one request may take.
        report: called with each message for the user; see `Commands` and `PyslurmBackend`.

    Raises:
        UsageError: `prefer` is unknown, or is `pyslurm` and pyslurm cannot be used here.
        SlurmUnavailableError: the controller does not answer, so its release is not known.
    """
    if prefer not in BACKENDS:
        raise UsageError(f"back end: expected one of {', '.join(BACKENDS)}, got {prefer!r}")
    commands = Commands(bin_dir, slurm_conf, timeout, report=report)
    if prefer == COMMANDS:
        return BackendChoice(commands, COMMANDS, "requested")
    if prefer == AUTO and not long_lived:
        reason = "a short process: importing pyslurm takes longer than running the commands"
        return BackendChoice(commands, COMMANDS, reason)
    obstacle = pyslurm_obstacle(commands)
    if obstacle is None:
        from slurm_restart.slurm.pyslurm_backend import PyslurmBackend  # noqa: PLC0415 - rarely used

        backend = PyslurmBackend(bin_dir, slurm_conf, timeout, report=report)
        return BackendChoice(backend, PYSLURM, "pyslurm is of the cluster's release")
    if prefer == PYSLURM:
        raise UsageError(
            f"pyslurm cannot be used: {obstacle}; install pyslurm of the cluster's release, or use "
            "the back end `commands`"
        )
    return BackendChoice(commands, COMMANDS, obstacle)


def pyslurm_obstacle(commands: Commands) -> str | None:
    """Return why pyslurm cannot be used with this cluster; None: it can.

    Raises:
        SlurmUnavailableError: the controller does not answer.
    """
    version = pyslurm_version()
    if version is None:
        return "pyslurm is not installed"
    built_for = parse_release(version, "pyslurm")
    # The controller's own release: the commands of this host may be older.
    running = parse_release(commands.config().get("SLURM_VERSION", ""), "SLURM_VERSION")
    if built_for != running:
        ours, theirs = (f"{year}.{month:02}" for year, month in (built_for, running))
        return f"pyslurm is for Slurm {ours}, the cluster runs {theirs}"
    return None


def pyslurm_version() -> str | None:
    """Return the version of the installed pyslurm, such as `25.11.2`; None: not installed."""
    if util.find_spec("pyslurm") is None:
        return None
    from importlib import metadata  # noqa: PLC0415 - slow to import, and rarely needed

    try:
        return metadata.version("pyslurm")
    except metadata.PackageNotFoundError:
        return None


def parse_release(text: str, source: str) -> tuple[int, int]:
    """Return major and minor of a version: (25, 11) of `25.11.2`, (25, 5) of `25.5.0`.

    Raises:
        SlurmError: the text is no version.
    """
    match = _RELEASE.match(text)
    if match is None:
        raise SlurmError(f"{source}: expected a version such as 25.11.2, got {text[:80]!r}")
    return int(match[1]), int(match[2])
